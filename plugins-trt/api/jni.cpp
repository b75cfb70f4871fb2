// The way in from Java: io.nit.core.cuda.NitKernels. Device pointers and strides come as they are; a failed launch
// becomes an exception with nitLastError's message.
#include "api/jniSupport.h"

using nit::pointer;
using nit::raise;

extern "C"
{

    JNIEXPORT jstring JNICALL Java_io_nit_core_cuda_NitKernels_description(JNIEnv* env, jclass)
    {
        return env->NewStringUTF(nitPluginsDescription());
    }

    JNIEXPORT void JNICALL Java_io_nit_core_cuda_NitKernels_varlenAttention(
        JNIEnv* env, jclass, jlong q, jlong k, jlong v, jlong out, jlong logSumExp, jlong cuSeqlens, jlong tokens,
        jint images, jint heads, jint headDim, jlong qkvTokenStride, jlong outTokenStride, jfloat scale, jint type,
        jint path, jlong stream)
    {
        NitVarlenAttentionParams p{};
        p.q = pointer(q);
        p.k = pointer(k);
        p.v = pointer(v);
        p.out = pointer(out);
        p.logSumExp = pointer<float>(logSumExp);
        p.cuSeqlens = pointer<int32_t>(cuSeqlens);
        p.tokens = tokens;
        p.images = images;
        p.heads = heads;
        p.headDim = headDim;
        p.qTokenStride = p.kTokenStride = p.vTokenStride = qkvTokenStride;
        p.outTokenStride = outTokenStride;
        p.qHeadStride = p.kHeadStride = p.vHeadStride = p.outHeadStride = headDim;
        p.scale = scale;
        p.type = type;
        p.path = path;
        raise(env, nitVarlenAttention(&p, pointer(stream)));
    }

    JNIEXPORT void JNICALL Java_io_nit_core_cuda_NitKernels_qkNormRope2d(
        JNIEnv* env, jclass, jlong qkv, jlong out, jlong cosine, jlong sine, jlong qWeight, jlong qBias, jlong kWeight,
        jlong kBias, jlong tokens, jint heads, jint headDim, jlong qkvTokenStride, jlong outTokenStride, jfloat epsilon,
        jint type, jlong stream)
    {
        NitQkNormRope2dParams p{};
        p.qkv = pointer(qkv);
        p.out = pointer(out);
        p.cosine = pointer<float>(cosine);
        p.sine = pointer<float>(sine);
        p.qWeight = pointer(qWeight);
        p.qBias = pointer(qBias);
        p.kWeight = pointer(kWeight);
        p.kBias = pointer(kBias);
        p.tokens = tokens;
        p.heads = heads;
        p.headDim = headDim;
        p.qkvTokenStride = qkvTokenStride;
        p.outTokenStride = outTokenStride;
        p.epsilon = epsilon;
        p.type = type;
        raise(env, nitQkNormRope2d(&p, pointer(stream)));
    }

    JNIEXPORT void JNICALL Java_io_nit_core_cuda_NitKernels_adaLn(
        JNIEnv* env, jclass, jlong x, jlong y, jlong gate, jlong shift, jlong scale, jlong imageIndex, jlong residual,
        jlong out, jlong tokens, jint hidden, jlong modulationStride, jfloat epsilon, jint type, jlong stream)
    {
        NitAdaLnParams p{};
        p.x = pointer(x);
        p.y = pointer(y);
        p.gate = pointer(gate);
        p.shift = pointer(shift);
        p.scale = pointer(scale);
        p.imageIndex = pointer<int32_t>(imageIndex);
        p.residual = pointer(residual);
        p.out = pointer(out);
        p.tokens = tokens;
        p.hidden = hidden;
        p.modulationStride = modulationStride;
        p.epsilon = epsilon;
        p.type = type;
        // Which of the three operations: by what is given, as the Java methods give it.
        int const error = p.y == nullptr     ? nitPackedAdaLn(&p, pointer(stream))
                          : p.out == nullptr ? nitGatedResidual(&p, pointer(stream))
                                             : nitGatedAdaLn(&p, pointer(stream));
        raise(env, error);
    }

} // extern "C"
