// Hopper's own machinery: mbarriers, bulk tensor copies, warpgroup matrix products, register reallocation.
// The emulator gives the same names a meaning on the CPU. Facts from the PTX ISA.
#pragma once

#include "common/device.cuh"
#include "common/numeric.cuh"

#ifndef NIT_EMULATE
#include <cuda.h>

#include "common/wgmma.cuh"
#endif

namespace nit
{

//! Layouts of a shared-memory tile as the copy engine writes it and the matrix units read it.
enum class Swizzle : int
{
    k128Bytes = 1, //!< rows of 128 bytes; 16-byte chunk c of row r stands at c ^ (r % 8)
    k32Bytes = 3,  //!< rows of 32 bytes; chunk c of row r stands at c ^ (r / 4 % 2)
};

//! Describes an operand of wgmma in shared memory: 14-bit fields in units of 16 bytes.
//! K-major (rows of K): stride = bytes between groups of 8 rows; leading is not read.
//! N-major (rows of N): stride = bytes between groups of 8 k; leading = bytes between 64-element columns of tiles.
NIT_HOST_DEVICE uint64_t
matrixDescriptor(uint32_t address, uint32_t leadingBytes, uint32_t strideBytes, Swizzle swizzle)
{
    uint64_t descriptor = (address & 0x3ffffu) >> 4;
    descriptor |= static_cast<uint64_t>((leadingBytes & 0x3ffffu) >> 4) << 16;
    descriptor |= static_cast<uint64_t>((strideBytes & 0x3ffffu) >> 4) << 32;
    descriptor |= static_cast<uint64_t>(static_cast<int>(swizzle)) << 62;
    return descriptor;
}

#ifndef NIT_EMULATE

using TensorMap = CUtensorMap;

NIT_DEVICE void barrierInit(uint32_t barrier, unsigned arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

//! Makes the initialised barriers visible to the copy engine.
NIT_DEVICE void barrierInitFence()
{
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

NIT_DEVICE void barrierArrive(uint32_t barrier)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

//! Arrives, and holds the phase until `bytes` more have been copied in.
NIT_DEVICE void barrierArriveExpect(uint32_t barrier, unsigned bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

//! Waits for the phase of this parity to end. A fresh barrier's phase 1 counts as ended.
NIT_DEVICE void barrierWait(uint32_t barrier, unsigned parity)
{
    asm volatile("{\n"
                 ".reg .pred done;\n"
                 "again:\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
                 "@!done bra again;\n"
                 "}\n" ::"r"(barrier),
                 "r"(parity)
                 : "memory");
}

NIT_DEVICE void prefetchTensorMap(TensorMap const* map)
{
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

//! Copies one box of a five-dimensional tensor to shared memory and counts its bytes at the barrier. What lies
//! outside the tensor becomes 0.
NIT_DEVICE void copyBox(uint32_t shared, TensorMap const* map, uint32_t barrier, int c0, int c1, int c2, int c3, int c4)
{
    asm volatile(
        "cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6, %7}], "
        "[%2];" ::"r"(shared),
        "l"(map), "r"(barrier), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4)
        : "memory");
}

//! Copies one box of a two-dimensional tensor, as above.
NIT_DEVICE void copyBox(uint32_t shared, TensorMap const* map, uint32_t barrier, int c0, int c1)
{
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], "
                 "[%2];" ::"r"(shared),
                 "l"(map), "r"(barrier), "r"(c0), "r"(c1)
                 : "memory");
}

//! Copies bytes as they lie and counts them at the barrier; addresses and number are multiples of 16.
NIT_DEVICE void copyBytes(uint32_t shared, void const* global, unsigned bytes, uint32_t barrier)
{
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(shared),
        "l"(global), "r"(bytes), "r"(barrier)
        : "memory");
}

//! Copies one box to the same place in every block of the cluster whose bit in `blocks` is set, and counts its bytes
//! at the same barrier of each.
NIT_DEVICE void copyBoxToMany(uint32_t shared, TensorMap const* map, uint32_t barrier, int c0, int c1, unsigned blocks)
{
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, "
        "{%3, %4}], [%2], %5;" ::"r"(shared),
        "l"(map), "r"(barrier), "r"(c0), "r"(c1), "h"(static_cast<uint16_t>(blocks))
        : "memory");
}

//! Brings one box to the second-level cache, so that a later copy of it does not wait for memory.
NIT_DEVICE void prefetchBox(TensorMap const* map, int c0, int c1)
{
    asm volatile("cp.async.bulk.prefetch.tensor.2d.L2.global.tile [%0, {%1, %2}];" ::"l"(map), "r"(c0), "r"(c1)
                 : "memory");
}

//! This block's number in its cluster.
NIT_DEVICE unsigned clusterRank()
{
    unsigned rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

//! The cluster's number in the grid's first direction.
NIT_DEVICE unsigned clusterIndex()
{
    unsigned index;
    asm("mov.u32 %0, %%clusterid.x;" : "=r"(index));
    return index;
}

//! Waits for all threads of the cluster; what they wrote to shared memory before is there for all after it.
NIT_DEVICE void syncCluster()
{
    __syncwarp(); // the barrier wants whole warps
    asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

//! Waits for all threads of the cluster, and orders no memory: stores to global memory need not have arrived.
NIT_DEVICE void leaveCluster()
{
    __syncwarp();
    asm volatile("barrier.cluster.arrive.relaxed.aligned;\nbarrier.cluster.wait.aligned;" ::: "memory");
}

//! Where a shared address of this block lies in block `rank` of the cluster, in the cluster's window of addresses.
NIT_DEVICE uint32_t inCluster(uint32_t shared, int rank)
{
    uint32_t address;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(shared), "r"(rank));
    return address;
}

//! Arrives at a barrier of any block of the cluster; `barrier` is an address of inCluster. Orders what the matrix units
//! have read, not ordinary stores of this thread for the other block: that would cost a fence of the cluster.
NIT_DEVICE void barrierArriveInCluster(uint32_t barrier)
{
    asm volatile("mbarrier.arrive.shared::cluster.b64 _, [%0];" ::"r"(barrier) : "memory");
}

//! `address` is one of inCluster.
NIT_DEVICE Vector16 loadInCluster16(uint32_t address)
{
    Vector16 v;
    asm volatile("ld.shared::cluster.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "r"(address)
                 : "memory");
    return v;
}

//! Orders this thread's ordinary accesses to shared memory before later ones of the copy engine and matrix units.
NIT_DEVICE void fenceAsyncProxy()
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

//! Orders register and shared-memory accesses before the wgmma that follow.
NIT_DEVICE void wgmmaFence()
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

NIT_DEVICE void wgmmaCommit()
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

//! Waits until at most kPending committed groups are under way.
template <int kPending>
NIT_DEVICE void wgmmaWait()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

//! Keeps the compiler from moving uses of accumulators across the asynchronous products that own them.
template <int kCount>
NIT_DEVICE void holdRegisters(float (&registers)[kCount])
{
#pragma unroll
    for (int i = 0; i < kCount; ++i)
    {
        asm volatile("" : "+f"(registers[i])::"memory");
    }
}

template <int kRegisters>
NIT_DEVICE void takeRegisters()
{
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

template <int kRegisters>
NIT_DEVICE void giveRegisters()
{
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

#endif // NIT_EMULATE

} // namespace nit
