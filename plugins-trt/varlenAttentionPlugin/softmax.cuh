// The online softmax of two query rows a thread, in the accumulator layout that mma.m16n8k16 and wgmma share: lane l of
// a warp holds rows l / 4 and l / 4 + 8 of its 16, and of every 8 columns the two that begin at l % 4 * 2.
//
// Scores stay in units of log2: exp(scale s - max) = 2^(s scale log2(e) - max log2(e)) is one multiply-add and one ex2.
#pragma once

#include "common/device.cuh"
#include "common/numeric.cuh"

namespace nit
{

constexpr float kLog2E = 1.44269504088896340736f;
constexpr float kLn2 = 0.69314718055994530942f;

template <int kColumns>
class OnlineSoftmax
{
public:
    static constexpr int kScores = kColumns / 2; // a thread's, of both rows

    NIT_DEVICE OnlineSoftmax()
    {
        // Every tile of keys holds a key of the image, so the maximum is finite after the first one and -inf - -inf
        // never comes up.
        mMax[0] = mMax[1] = -HUGE_VALF;
        mSum[0] = mSum[1] = 0.0f;
    }

    //! Takes the scores' maxima in. rescale: what earlier sums and outputs must be multiplied by.
    NIT_DEVICE void raise(float const (&scores)[kScores], float scaleLog2, float (&rescale)[2])
    {
#pragma unroll
        for (int row = 0; row < 2; ++row)
        {
            float highest = mMax[row];
#pragma unroll
            for (int i = 0; i < kScores; i += 4)
            {
                highest = fmaxf(highest, fmaxf(scores[i + 2 * row], scores[i + 2 * row + 1]));
            }
            highest = fmaxf(highest, shuffleXor(highest, 1));
            highest = fmaxf(highest, shuffleXor(highest, 2));
            rescale[row] = exp2Fast((mMax[row] - highest) * scaleLog2);
            mMax[row] = highest;
            mSum[row] *= rescale[row];
        }
    }

    //! Turns scores into weights 2^(score - max), rounded and laid out as the left operand of the next product: 16 keys
    //! are two column groups of accumulators.
    template <typename T>
    NIT_DEVICE void weigh(float const (&scores)[kScores], float scaleLog2, uint32_t (&weights)[kColumns / 16][4])
    {
#pragma unroll
        for (int row = 0; row < 2; ++row)
        {
            float const offset = mMax[row] * scaleLog2;
#pragma unroll
            for (int i = 0; i < kScores; i += 4)
            {
                float const first = exp2Fast(fmaf(scores[i + 2 * row], scaleLog2, -offset));
                float const second = exp2Fast(fmaf(scores[i + 2 * row + 1], scaleLog2, -offset));
                mSum[row] += first + second;
                weights[i / 8][i / 4 % 2 * 2 + row] = pack<T>(first, second);
            }
        }
    }

    //! Ends the sums over a row's four lanes. inverse: what the outputs must be multiplied by.
    NIT_DEVICE void finish(float scaleLog2, float (&inverse)[2], float (&logSumExp)[2])
    {
#pragma unroll
        for (int row = 0; row < 2; ++row)
        {
            float sum = mSum[row];
            sum += shuffleXor(sum, 1);
            sum += shuffleXor(sum, 2);
            inverse[row] = 1.0f / sum;
            logSumExp[row] = (mMax[row] * scaleLog2 + log2Fast(sum)) * kLn2;
        }
    }

private:
    float mMax[2]; // of the raw scores
    float mSum[2]; // this lane's part
};

template <int kCount>
NIT_DEVICE void clear(float (&values)[kCount])
{
#pragma unroll
    for (int i = 0; i < kCount; ++i)
    {
        values[i] = 0.0f;
    }
}

//! Multiplies the output by what the softmax's maxima have changed by.
template <int kCount>
NIT_DEVICE void rescaleRows(float (&output)[kCount], float const (&rescale)[2])
{
#pragma unroll
    for (int i = 0; i < kCount; i += 4)
    {
        output[i] *= rescale[0];
        output[i + 1] *= rescale[0];
        output[i + 2] *= rescale[1];
        output[i + 3] *= rescale[1];
    }
}

//! Scores of keys beyond the image are -inf: their weights are exactly 0, whatever stood in memory.
template <int kScores>
NIT_DEVICE void maskKeys(float (&scores)[kScores], int keys)
{
    int const column = static_cast<int>(threadIndex()) % 4 * 2;
#pragma unroll
    for (int i = 0; i < kScores; i += 4)
    {
#pragma unroll
        for (int j = 0; j < 2; ++j)
        {
            if (i * 2 + column + j >= keys)
            {
                scores[i + j] = -HUGE_VALF;
                scores[i + 2 + j] = -HUGE_VALF;
            }
        }
    }
}

} // namespace nit
