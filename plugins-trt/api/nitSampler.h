/*
 * The sampler's arithmetic on the device, so that latents stay there from the first step to the last. In double
 * precision with one rounding an operation, in the order of io.nit.core.flow.Move: the same bits as on the host. As in
 * nitKernels.h: device pointers, nothing is read back, nothing is allocated, 0 or an error whose text is
 * nitLastError().
 *
 * A step of B images is nitSamplerGather, the model, nitSamplerAdvance. A state is moved by nitSamplerAdvance, so that
 * states lie in the order of the pack whatever comes and goes between two steps; it must not overwrite one that is
 * still to be read.
 */
#ifndef NIT_SAMPLER_H
#define NIT_SAMPLER_H

#include "api/nitKernels.h"

#ifdef __cplusplus
extern "C"
{
#endif

    /* How a velocity moves an image on. */
    enum
    {
        NIT_MOVE_EULER = 0,   /* x += dt v */
        NIT_MOVE_PREDICT = 1, /* keeps v: the next velocity is wanted at x + dt v */
        NIT_MOVE_CORRECT = 2, /* x += dt (v before / 2 + v / 2) */
        NIT_MOVE_DIFFUSE = 3  /* x += (v - t score(v, x)) dt + spread noise */
    };

    /* An image of a step; 72 bytes. Places are counted in values, not bytes. */
    typedef struct
    {
        int64_t first;  /* its first value in the pack: rising, the first image's is 0 */
        int64_t second; /* its first value with the null class, for guidance; -1: not guided */
        int64_t from;   /* its first value in state and velocity */
        int64_t to;     /* its first value there after the step */
        double t;
        double dt;
        double scale;  /* of guidance */
        double spread; /* of the noise; 0: none is read */
        int32_t rule;
        int32_t unused;
    } NitSampledImage;

    typedef struct
    {
        NitSampledImage const* images; /* [B] */
        double* state;
        double* velocity;    /* of images between NIT_MOVE_PREDICT and NIT_MOVE_CORRECT */
        float* x;            /* [values of the pack], the model's input */
        float const* v;      /* [values of the pack], the model's output */
        double const* noise; /* by place in the pack, for images with a spread; NULL where there is none */
        int32_t* failed;  /* [B]: 1 is written where x is not finite, else nothing; may be pinned memory of the host */
        int64_t elements; /* of all images, counted once */
        int32_t count;    /* B */
    } NitSamplerParams;

    /* x = the points at which the velocities are wanted; v, noise and failed are not read or written. */
    NIT_API int nitSamplerGather(NitSamplerParams const* params, void* stream);

    /* Guidance and the images' moves; x is neither read nor written. */
    NIT_API int nitSamplerAdvance(NitSamplerParams const* params, void* stream);

#ifdef __cplusplus
}
#endif

#endif
