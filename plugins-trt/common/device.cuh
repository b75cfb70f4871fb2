// The primitives that every kernel is written in. Two versions of the same names: this file's for the GPU, and
// test/emulator/emulator.h's, which runs a block's threads as fibers on the CPU (NIT_EMULATE).
#pragma once

#ifdef NIT_EMULATE
#include "test/emulator/emulator.h"
#else

#include <cstdint>
#include <cuda_runtime.h>

#define NIT_DEVICE __device__ __forceinline__
#define NIT_HOST_DEVICE __host__ __device__ __forceinline__
#define NIT_KERNEL(maxThreads, minBlocks) __global__ void __launch_bounds__(maxThreads, minBlocks)
//! The block's dynamic shared memory, aligned for every swizzle.
#define NIT_SHARED_MEMORY(name) extern __shared__ __align__(1024) unsigned char name[]
#define NIT_GRID_CONSTANT const __grid_constant__

namespace nit
{

using Vector16 = uint4;
constexpr unsigned kFullWarp = 0xffffffffu;

NIT_DEVICE unsigned threadIndex()
{
    return threadIdx.x;
}

NIT_DEVICE unsigned blockIndex()
{
    return blockIdx.x;
}

NIT_DEVICE unsigned blockIndexY()
{
    return blockIdx.y;
}

NIT_DEVICE unsigned gridSize()
{
    return gridDim.x;
}

NIT_DEVICE void syncBlock()
{
    __syncthreads();
}

NIT_DEVICE void syncWarp()
{
    __syncwarp();
}

//! A barrier of `threads` threads of the block; `id` 1..15.
NIT_DEVICE void syncNamed(int id, int threads)
{
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

//! Arrives at a named barrier and goes on.
NIT_DEVICE void arriveNamed(int id, int threads)
{
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

template <typename V>
NIT_DEVICE V shuffleXor(V value, int mask)
{
    return __shfl_xor_sync(kFullWarp, value, mask);
}

template <typename V>
NIT_DEVICE V shuffleUp(V value, int delta)
{
    return __shfl_up_sync(kFullWarp, value, delta);
}

template <typename V>
NIT_DEVICE V shuffleFrom(V value, int lane)
{
    return __shfl_sync(kFullWarp, value, lane);
}

NIT_DEVICE unsigned ballot(bool predicate)
{
    return __ballot_sync(kFullWarp, predicate);
}

//! Index of the highest bit that is set; mask is not 0.
NIT_DEVICE int lastSet(unsigned mask)
{
    return 31 - __clz(static_cast<int>(mask));
}

NIT_DEVICE float bitsToFloat(uint32_t bits)
{
    return __uint_as_float(bits);
}

NIT_DEVICE uint32_t floatBits(float value)
{
    return __float_as_uint(value);
}

//! Double precision, each rounded by itself: the compiler does not fuse them.
NIT_DEVICE double addDouble(double a, double b)
{
    return __dadd_rn(a, b);
}

NIT_DEVICE double multiplyDouble(double a, double b)
{
    return __dmul_rn(a, b);
}

NIT_DEVICE double divideDouble(double a, double b)
{
    return __ddiv_rn(a, b);
}

NIT_DEVICE uint32_t packBf16(float lowerValue, float upperValue)
{
    uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(upperValue), "f"(lowerValue));
    return pair;
}

NIT_DEVICE uint32_t packFp16(float lowerValue, float upperValue)
{
    uint32_t pair;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(upperValue), "f"(lowerValue));
    return pair;
}

NIT_DEVICE float halfToFloat(uint16_t bits)
{
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

//! 2^x; 2 ulp, and 0 for -inf.
NIT_DEVICE float exp2Fast(float x)
{
    float value;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(value) : "f"(x));
    return value;
}

NIT_DEVICE float log2Fast(float x)
{
    float value;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(value) : "f"(x));
    return value;
}

//! 1 / x; 1 ulp, and 0 for infinity.
NIT_DEVICE float reciprocalFast(float x)
{
    float value;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(value) : "f"(x));
    return value;
}

//! tanh x; a relative error of 2^-11, which is that of a rounding to bf16 and one bit better.
NIT_DEVICE float tanhFast(float x)
{
    float value;
    asm("tanh.approx.f32 %0, %1;" : "=f"(value) : "f"(x));
    return value;
}

NIT_DEVICE float inverseSqrt(float x)
{
    return rsqrtf(x);
}

NIT_DEVICE float squareRoot(float x)
{
    return sqrtf(x);
}

NIT_DEVICE void sineCosine(float x, float& sine, float& cosine)
{
    sincosf(x, &sine, &cosine);
}

NIT_DEVICE uint32_t sharedAddress(void const* pointer)
{
    return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

NIT_DEVICE Vector16 loadVector(void const* global)
{
    return *static_cast<Vector16 const*>(global);
}

NIT_DEVICE void storeVector(void* global, Vector16 const& vector)
{
    *static_cast<Vector16*>(global) = vector;
}

//! Stores eight bytes at once.
NIT_DEVICE void storePair(void* global, uint32_t first, uint32_t second)
{
    *static_cast<uint2*>(global) = make_uint2(first, second);
}

//! Hides from the compiler what the vector was made of, so that it keeps these four registers and nothing derived.
NIT_DEVICE void keepPacked(Vector16& vector)
{
    asm("" : "+r"(vector.x), "+r"(vector.y), "+r"(vector.z), "+r"(vector.w));
}

NIT_DEVICE Vector16 loadShared16(uint32_t address)
{
    Vector16 v;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "r"(address));
    return v;
}

NIT_DEVICE uint32_t loadShared4(uint32_t address)
{
    uint32_t value;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(value) : "r"(address));
    return value;
}

NIT_DEVICE void storeShared16(uint32_t address, Vector16 const& v)
{
    asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
                 : "memory");
}

NIT_DEVICE void storeShared4(uint32_t address, uint32_t value)
{
    asm volatile("st.shared.u32 [%0], %1;" ::"r"(address), "r"(value) : "memory");
}

NIT_DEVICE void storeShared8(uint32_t address, uint32_t first, uint32_t second)
{
    asm volatile("st.shared.v2.u32 [%0], {%1, %2};" ::"r"(address), "r"(first), "r"(second) : "memory");
}

NIT_DEVICE void storeShared2(uint32_t address, uint16_t value)
{
    asm volatile("st.shared.u16 [%0], %1;" ::"r"(address), "h"(value) : "memory");
}

//! Copies 16 bytes from global to shared memory in the background; the bytes beyond `bytes` become 0.
NIT_DEVICE void copyAsync16(uint32_t shared, void const* global, int bytes)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global), "r"(bytes) : "memory");
}

NIT_DEVICE void commitCopies()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

//! Waits until at most kPending groups of this thread's copies are under way.
template <int kPending>
NIT_DEVICE void waitCopies()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

//! Four 8x8 matrices of 16-bit values; lane l names row l % 8 of matrix l / 8.
NIT_DEVICE void loadMatrices(uint32_t (&registers)[4], uint32_t address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
                 : "r"(address)
                 : "memory");
}

NIT_DEVICE void loadMatricesTransposed(uint32_t (&registers)[4], uint32_t address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
                 : "r"(address)
                 : "memory");
}

struct Bf16;
struct Fp16;

//! d [16, 8] += a [16, 16] x b [16, 8], in the fragments of mma.m16n8k16.
template <typename T>
NIT_DEVICE void multiplyAdd(float (&d)[4], uint32_t const (&a)[4], uint32_t b0, uint32_t b1);

template <>
NIT_DEVICE void multiplyAdd<Bf16>(float (&d)[4], uint32_t const (&a)[4], uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

template <>
NIT_DEVICE void multiplyAdd<Fp16>(float (&d)[4], uint32_t const (&a)[4], uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

} // namespace nit

//! Lets a kernel that was launched as a dependent of this one begin as soon as all blocks of this one have begun and
//! there is room for it. What it does before it waits for this one, such as bringing weights, is then hidden.
NIT_DEVICE void allowDependents()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

//! Waits until the kernel that this one depends on is over, where it may have begun before (launchAfter).
NIT_DEVICE void waitForPrerequisites()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

#endif // NIT_EMULATE
