// The way in from Java for training: io.nit.core.cuda.TrainingKernels.
#include "api/jniSupport.h"
#include "api/nitTraining.h"

using nit::pointer;
using nit::raise;

extern "C"
{

    JNIEXPORT void JNICALL Java_io_nit_core_cuda_TrainingKernels_rotate(
        JNIEnv* env, jclass, jlong qkv, jlong out, jlong cosine, jlong sine, jlong qWeight, jlong qBias, jlong kWeight,
        jlong kBias, jlong tokens, jint heads, jint headDim, jfloat epsilon, jlong stream)
    {
        int64_t const width = static_cast<int64_t>(heads) * headDim;
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
        p.qkvTokenStride = 3 * width;
        p.outTokenStride = 2 * width;
        p.epsilon = epsilon;
        p.type = NIT_BF16;
        raise(env, nitRotate(&p, pointer(stream)));
    }

    JNIEXPORT void JNICALL Java_io_nit_core_cuda_TrainingKernels_layerNormBackward(
        JNIEnv* env, jclass, jlong x, jlong dOut, jlong dResidual, jlong shift, jlong scale, jlong chunks, jlong dx,
        jlong out, jlong partialShift, jlong partialScale, jint chunkCount, jint hidden, jlong modulationStride,
        jfloat epsilon, jlong stream)
    {
        NitLayerNormBackwardParams p{};
        p.x = pointer(x);
        p.dOut = pointer(dOut);
        p.dResidual = pointer(dResidual);
        p.shift = pointer(shift);
        p.scale = pointer(scale);
        p.chunks = pointer<int32_t>(chunks);
        p.dx = pointer(dx);
        p.out = pointer(out);
        p.partialShift = pointer<float>(partialShift);
        p.partialScale = pointer<float>(partialScale);
        p.chunkCount = chunkCount;
        p.hidden = hidden;
        p.modulationStride = modulationStride;
        p.epsilon = epsilon;
        raise(env, nitLayerNormBackward(&p, pointer(stream)));
    }

    JNIEXPORT void JNICALL Java_io_nit_core_cuda_TrainingKernels_gatedResidualBackward(
        JNIEnv* env, jclass, jlong dResidual, jlong y, jlong gate, jlong chunks, jlong dy, jlong partialGate,
        jlong partialSum, jint chunkCount, jint hidden, jlong modulationStride, jlong stream)
    {
        NitGatedResidualBackwardParams p{};
        p.dResidual = pointer(dResidual);
        p.y = pointer(y);
        p.gate = pointer(gate);
        p.chunks = pointer<int32_t>(chunks);
        p.dy = pointer(dy);
        p.partialGate = pointer<float>(partialGate);
        p.partialSum = pointer<float>(partialSum);
        p.chunkCount = chunkCount;
        p.hidden = hidden;
        p.modulationStride = modulationStride;
        raise(env, nitGatedResidualBackward(&p, pointer(stream)));
    }

    JNIEXPORT void JNICALL Java_io_nit_core_cuda_TrainingKernels_imageSums(
        JNIEnv* env, jclass, jlong partialFirst, jlong partialSecond, jlong chunkStarts, jlong first, jlong second,
        jlong firstStride, jlong secondStride, jint images, jint hidden, jlong stream)
    {
        NitImageSumsParams p{};
        p.partialFirst = pointer<float>(partialFirst);
        p.partialSecond = pointer<float>(partialSecond);
        p.chunkStarts = pointer<int32_t>(chunkStarts);
        p.first = pointer<float>(first);
        p.second = pointer<float>(second);
        p.firstStride = firstStride;
        p.secondStride = secondStride;
        p.images = images;
        p.hidden = hidden;
        raise(env, nitImageSums(&p, pointer(stream)));
    }

    JNIEXPORT void JNICALL Java_io_nit_core_cuda_TrainingKernels_geluBackward(
        JNIEnv* env, jclass, jlong x, jlong dOut, jlong dx, jlong out, jlong partial, jlong tokens, jint width,
        jlong stream)
    {
        NitGeluBackwardParams p{};
        p.x = pointer(x);
        p.dOut = pointer(dOut);
        p.dx = pointer(dx);
        p.out = pointer(out);
        p.partial = pointer<float>(partial);
        p.tokens = tokens;
        p.width = width;
        raise(env, nitGeluBackward(&p, pointer(stream)));
    }

    JNIEXPORT void JNICALL Java_io_nit_core_cuda_TrainingKernels_columnSums(
        JNIEnv* env, jclass, jlong x, jlong partial, jlong tokens, jint width, jlong stream)
    {
        raise(env, nitColumnSums(pointer(x), pointer<float>(partial), tokens, width, pointer(stream)));
    }

    JNIEXPORT void JNICALL Java_io_nit_core_cuda_TrainingKernels_sumRows(
        JNIEnv* env, jclass, jlong partial, jlong out, jlong rows, jint width, jlong rowStride, jboolean accumulate,
        jlong stream)
    {
        raise(
            env, nitSumRows(
                     pointer<float>(partial), pointer<float>(out), rows, width, rowStride, accumulate == JNI_TRUE,
                     pointer(stream)));
    }

    JNIEXPORT void JNICALL Java_io_nit_core_cuda_TrainingKernels_rotateBackward(
        JNIEnv* env, jclass, jlong dq, jlong dk, jlong dv, jlong qkv, jlong cosine, jlong sine, jlong qWeight,
        jlong kWeight, jlong dqkv, jlong partialQ, jlong partialK, jlong tokens, jint heads, jint headDim,
        jfloat epsilon, jlong stream)
    {
        NitQkNormRope2dBackwardParams p{};
        p.dq = pointer(dq);
        p.dk = pointer(dk);
        p.dv = pointer(dv);
        p.qkv = pointer(qkv);
        p.cosine = pointer<float>(cosine);
        p.sine = pointer<float>(sine);
        p.qWeight = pointer(qWeight);
        p.kWeight = pointer(kWeight);
        p.dqkv = pointer(dqkv);
        p.partialQ = pointer<float>(partialQ);
        p.partialK = pointer<float>(partialK);
        p.tokens = tokens;
        p.heads = heads;
        p.headDim = headDim;
        p.epsilon = epsilon;
        raise(env, nitQkNormRope2dBackward(&p, pointer(stream)));
    }

    JNIEXPORT void JNICALL Java_io_nit_core_cuda_TrainingKernels_attention(
        JNIEnv* env, jclass, jlong q, jlong k, jlong v, jlong out, jlong logSumExp, jlong cuSeqlens, jlong tokens,
        jint images, jint heads, jint headDim, jlong qkTokenStride, jlong vTokenStride, jlong stream)
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
        p.qTokenStride = p.kTokenStride = qkTokenStride;
        p.vTokenStride = vTokenStride;
        p.outTokenStride = static_cast<int64_t>(heads) * headDim;
        p.qHeadStride = p.kHeadStride = p.vHeadStride = p.outHeadStride = headDim;
        p.type = NIT_BF16;
        raise(env, nitVarlenAttention(&p, pointer(stream)));
    }

    JNIEXPORT void JNICALL Java_io_nit_core_cuda_TrainingKernels_padLogSumExp(
        JNIEnv* env, jclass, jlong logSumExp, jlong imageIndex, jlong cuSeqlens, jlong padded, jlong tokens, jint heads,
        jint longest, jlong stream)
    {
        raise(
            env, nitPadLogSumExp(
                     pointer<float>(logSumExp), pointer<int32_t>(imageIndex), pointer<int32_t>(cuSeqlens),
                     pointer<float>(padded), tokens, heads, longest, pointer(stream)));
    }

    JNIEXPORT void JNICALL Java_io_nit_core_cuda_TrainingKernels_adamW(
        JNIEnv* env, jclass, jlong parameters, jlong expAvg, jlong expAvgSq, jlong average, jlong copy, jlong gradients,
        jlong scalars, jlong elements, jfloat beta1, jfloat beta2, jfloat epsilon, jlong stream)
    {
        NitAdamWParams p{};
        p.parameters = pointer<float>(parameters);
        p.expAvg = pointer<float>(expAvg);
        p.expAvgSq = pointer<float>(expAvgSq);
        p.average = pointer<float>(average);
        p.copy = pointer(copy);
        p.gradients = pointer<float>(gradients);
        p.scalars = pointer<float>(scalars);
        p.elements = elements;
        p.beta1 = beta1;
        p.beta2 = beta2;
        p.epsilon = epsilon;
        raise(env, nitAdamW(&p, pointer(stream)));
    }

} // extern "C"
