// The way in from Java: io.nit.core.cuda.SamplerKernels.
#include "api/jniSupport.h"
#include "api/nitSampler.h"

using nit::pointer;
using nit::raise;

extern "C"
{

    JNIEXPORT jint JNICALL Java_io_nit_core_cuda_SamplerKernels_imageBytes(JNIEnv*, jclass)
    {
        return sizeof(NitSampledImage);
    }

    JNIEXPORT void JNICALL Java_io_nit_core_cuda_SamplerKernels_gather(
        JNIEnv* env, jclass, jlong images, jlong state, jlong velocity, jlong x, jlong elements, jint count,
        jlong stream)
    {
        NitSamplerParams p{};
        p.images = pointer<NitSampledImage>(images);
        p.state = pointer<double>(state);
        p.velocity = pointer<double>(velocity);
        p.x = pointer<float>(x);
        p.elements = elements;
        p.count = count;
        raise(env, nitSamplerGather(&p, pointer(stream)));
    }

    JNIEXPORT void JNICALL Java_io_nit_core_cuda_SamplerKernels_advance(
        JNIEnv* env, jclass, jlong images, jlong state, jlong velocity, jlong v, jlong noise, jlong failed,
        jlong elements, jint count, jlong stream)
    {
        NitSamplerParams p{};
        p.images = pointer<NitSampledImage>(images);
        p.state = pointer<double>(state);
        p.velocity = pointer<double>(velocity);
        p.v = pointer<float>(v);
        p.noise = pointer<double>(noise);
        p.failed = pointer<int32_t>(failed);
        p.elements = elements;
        p.count = count;
        raise(env, nitSamplerAdvance(&p, pointer(stream)));
    }

} // extern "C"
