// Runs kernels on the CPU, thread by thread, so that their logic is tested where there is no GPU.
//
// A block's threads are fibers that switch only where a thread waits: at barriers, warp-wide operations, mbarriers.
// What a GPU does in the background is done here as late as the program allows: cp.async at its wait, wgmma at its
// wait, bulk tensor copies when every thread waits (or at once, by Options). So a missing wait reads old data, and a
// buffer given back too early is read after it was overwritten: races show as wrong numbers. Shared memory begins as
// NaNs.
//
// It is no model of time, caches or banks, and it does not check alignment faults or proxy fences.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>

#define NIT_DEVICE inline
#define NIT_HOST_DEVICE inline
#define NIT_KERNEL(maxThreads, minBlocks) void
#define NIT_SHARED_MEMORY(name) unsigned char* name = ::nit::emulator::sharedMemory()
#define NIT_GRID_CONSTANT const

namespace nit
{

struct Vector16
{
    uint32_t x;
    uint32_t y;
    uint32_t z;
    uint32_t w;
};

struct Bf16;
struct Fp16;

namespace emulator
{

struct Options
{
    unsigned seed = 0;      //!< 0: warps keep pace; else of the random order in which they run ahead of each other
    bool lateCopies = true; //!< bulk tensor copies happen when all threads wait, else at once
};

//! Blocks of a grid in its two directions.
struct Grid
{
    unsigned x;
    unsigned y;

    Grid(unsigned x_, unsigned y_ = 1) : x(x_), y(y_)
    {
    }
};

//! Runs a kernel's body for every thread of every block; the blocks of a cluster, neighbours in the grid's first
//! direction, run beside each other. Throws std::runtime_error on deadlock, on warp-wide operations that not all lanes
//! reach, on malformed barriers, tensor maps and descriptors, and when a block reaches for the shared memory of one
//! that has left.
void launch(
    Grid grid, unsigned threads, size_t sharedBytes, Options const& options, std::function<void()> const& body,
    unsigned clusterBlocks = 1);

unsigned char* sharedMemory();
unsigned threadIndex();
unsigned blockIndex();
unsigned blockIndexY();
unsigned clusterRank();
unsigned clusterIndex();
unsigned gridSize();
void barrier(int id, int threads, bool wait);
void blockBarrier();
uint64_t shuffle(uint64_t value, int lane, bool valid);
unsigned ballot(bool predicate);
void* sharedPointer(uint32_t address, size_t bytes);
uint32_t sharedAddress(void const* pointer);
void copyAsync16(uint32_t shared, void const* global, int bytes);
void commitCopies();
void waitCopies(int pending);
void loadMatrices(uint32_t (&registers)[4], uint32_t address, bool transposed);
void multiplyAdd(float (&d)[4], uint32_t const (&a)[4], uint32_t b0, uint32_t b1, bool bf16);

uint16_t roundBf16(float value);
uint16_t roundFp16(float value);
float widenFp16(uint16_t bits);

} // namespace emulator

inline unsigned threadIndex()
{
    return emulator::threadIndex();
}

inline unsigned blockIndex()
{
    return emulator::blockIndex();
}

inline unsigned blockIndexY()
{
    return emulator::blockIndexY();
}

inline unsigned clusterRank()
{
    return emulator::clusterRank();
}

inline unsigned clusterIndex()
{
    return emulator::clusterIndex();
}

inline unsigned gridSize()
{
    return emulator::gridSize();
}

inline void syncBlock()
{
    emulator::blockBarrier();
}

inline void syncWarp()
{
    emulator::ballot(true);
}

inline void syncNamed(int id, int threads)
{
    emulator::barrier(id, threads, true);
}

inline void arriveNamed(int id, int threads)
{
    emulator::barrier(id, threads, false);
}

template <typename V>
V shuffleLane(V value, int lane)
{
    static_assert(sizeof(V) == 4, "32-bit values");
    uint32_t bits;
    __builtin_memcpy(&bits, &value, 4);
    bool const valid = lane >= 0 && lane < 32;
    bits = static_cast<uint32_t>(emulator::shuffle(bits, lane, valid));
    __builtin_memcpy(&value, &bits, 4);
    return value;
}

template <typename V>
V shuffleXor(V value, int mask)
{
    return shuffleLane(value, static_cast<int>(threadIndex() % 32) ^ mask);
}

template <typename V>
V shuffleUp(V value, int delta)
{
    return shuffleLane(value, static_cast<int>(threadIndex() % 32) - delta); // its own value where there is no lane
}

template <typename V>
V shuffleFrom(V value, int lane)
{
    return shuffleLane(value, lane);
}

inline unsigned ballot(bool predicate)
{
    return emulator::ballot(predicate);
}

inline int lastSet(unsigned mask)
{
    return 31 - __builtin_clz(mask);
}

inline float bitsToFloat(uint32_t bits)
{
    float value;
    __builtin_memcpy(&value, &bits, 4);
    return value;
}

inline uint32_t floatBits(float value)
{
    uint32_t bits;
    __builtin_memcpy(&bits, &value, 4);
    return bits;
}

inline double addDouble(double a, double b)
{
    return a + b;
}

inline double multiplyDouble(double a, double b)
{
    return a * b;
}

inline double divideDouble(double a, double b)
{
    return a / b;
}

inline uint32_t packBf16(float lowerValue, float upperValue)
{
    return emulator::roundBf16(lowerValue) | static_cast<uint32_t>(emulator::roundBf16(upperValue)) << 16;
}

inline uint32_t packFp16(float lowerValue, float upperValue)
{
    return emulator::roundFp16(lowerValue) | static_cast<uint32_t>(emulator::roundFp16(upperValue)) << 16;
}

inline float halfToFloat(uint16_t bits)
{
    return emulator::widenFp16(bits);
}

inline float tanhFast(float x)
{
    return std::tanh(x);
}

inline float exp2Fast(float x)
{
    return std::exp2(x);
}

inline float log2Fast(float x)
{
    return std::log2(x);
}

inline float reciprocalFast(float x)
{
    return 1.0f / x;
}

inline float inverseSqrt(float x)
{
    return 1.0f / std::sqrt(x);
}

inline float squareRoot(float x)
{
    return std::sqrt(x);
}

inline void sineCosine(float x, float& sine, float& cosine)
{
    sine = std::sin(x);
    cosine = std::cos(x);
}

inline uint32_t sharedAddress(void const* pointer)
{
    return emulator::sharedAddress(pointer);
}

inline Vector16 loadVector(void const* global)
{
    Vector16 vector;
    __builtin_memcpy(&vector, global, 16);
    return vector;
}

inline void storeVector(void* global, Vector16 const& vector)
{
    __builtin_memcpy(global, &vector, 16);
}

inline void storePair(void* global, uint32_t first, uint32_t second)
{
    uint32_t const pair[2] = {first, second};
    __builtin_memcpy(global, pair, 8);
}

inline void keepPacked(Vector16&)
{
}

inline Vector16 loadShared16(uint32_t address)
{
    return loadVector(emulator::sharedPointer(address, 16));
}

inline uint32_t loadShared4(uint32_t address)
{
    uint32_t value;
    __builtin_memcpy(&value, emulator::sharedPointer(address, 4), 4);
    return value;
}

inline void storeShared16(uint32_t address, Vector16 const& vector)
{
    storeVector(emulator::sharedPointer(address, 16), vector);
}

inline void storeShared4(uint32_t address, uint32_t value)
{
    __builtin_memcpy(emulator::sharedPointer(address, 4), &value, 4);
}

inline void storeShared8(uint32_t address, uint32_t first, uint32_t second)
{
    uint32_t const pair[2] = {first, second};
    __builtin_memcpy(emulator::sharedPointer(address, 8), pair, 8);
}

inline void storeShared2(uint32_t address, uint16_t value)
{
    __builtin_memcpy(emulator::sharedPointer(address, 2), &value, 2);
}

inline void copyAsync16(uint32_t shared, void const* global, int bytes)
{
    emulator::copyAsync16(shared, global, bytes);
}

inline void commitCopies()
{
    emulator::commitCopies();
}

template <int kPending>
void waitCopies()
{
    emulator::waitCopies(kPending);
}

inline void loadMatrices(uint32_t (&registers)[4], uint32_t address)
{
    emulator::loadMatrices(registers, address, false);
}

inline void loadMatricesTransposed(uint32_t (&registers)[4], uint32_t address)
{
    emulator::loadMatrices(registers, address, true);
}

template <typename T>
struct IsBf16
{
    static constexpr bool kValue = false;
};

template <>
struct IsBf16<Bf16>
{
    static constexpr bool kValue = true;
};

template <typename T>
void multiplyAdd(float (&d)[4], uint32_t const (&a)[4], uint32_t b0, uint32_t b1)
{
    emulator::multiplyAdd(d, a, b0, b1, IsBf16<T>::kValue);
}

// Hopper.

struct TensorMap
{
    void const* base = nullptr;
    uint64_t sizes[5] = {};
    uint64_t strides[4] = {}; //!< bytes, of dimensions 1 to 4
    uint32_t box[5] = {};
    int swizzle = 0; //!< a Swizzle
};

namespace emulator
{

void barrierInit(uint32_t address, unsigned arrivals);
void barrierArrive(uint32_t address, unsigned expectedBytes);
void barrierWait(uint32_t address, unsigned parity);
void copyBox(uint32_t shared, TensorMap const& map, uint32_t barrier, int const (&coordinates)[5]);
void copyBytes(uint32_t shared, void const* global, unsigned bytes, uint32_t barrier);
void copyBoxToMany(
    uint32_t shared, TensorMap const& map, uint32_t barrier, int const (&coordinates)[5], unsigned blocks);
void clusterBarrier();
uint32_t inCluster(uint32_t shared, int rank);
void barrierArriveInCluster(uint32_t address);
void* pointerInCluster(uint32_t address, size_t bytes);

struct Product
{
    float* d;
    int columns;
    uint32_t const* a; //!< registers, or null: aDescriptor
    uint64_t aDescriptor;
    uint64_t bDescriptor;
    bool bByColumns; //!< N-major
    bool accumulate;
    bool bf16;
};

void issueProduct(Product const& product);
void commitProducts();
void waitProducts(int pending);

} // namespace emulator

inline void barrierInit(uint32_t barrier, unsigned arrivals)
{
    emulator::barrierInit(barrier, arrivals);
}

inline void barrierInitFence()
{
}

inline void barrierArrive(uint32_t barrier)
{
    emulator::barrierArrive(barrier, 0);
}

inline void barrierArriveExpect(uint32_t barrier, unsigned bytes)
{
    emulator::barrierArrive(barrier, bytes);
}

inline void barrierWait(uint32_t barrier, unsigned parity)
{
    emulator::barrierWait(barrier, parity);
}

inline void prefetchTensorMap(TensorMap const*)
{
}

inline void copyBox(uint32_t shared, TensorMap const* map, uint32_t barrier, int c0, int c1, int c2, int c3, int c4)
{
    emulator::copyBox(shared, *map, barrier, {c0, c1, c2, c3, c4});
}

inline void copyBox(uint32_t shared, TensorMap const* map, uint32_t barrier, int c0, int c1)
{
    emulator::copyBox(shared, *map, barrier, {c0, c1, 0, 0, 0});
}

inline void copyBytes(uint32_t shared, void const* global, unsigned bytes, uint32_t barrier)
{
    emulator::copyBytes(shared, global, bytes, barrier);
}

inline void copyBoxToMany(uint32_t shared, TensorMap const* map, uint32_t barrier, int c0, int c1, unsigned blocks)
{
    emulator::copyBoxToMany(shared, *map, barrier, {c0, c1, 0, 0, 0}, blocks);
}

inline void prefetchBox(TensorMap const*, int, int)
{
}

inline void syncCluster()
{
    emulator::clusterBarrier();
}

inline void leaveCluster()
{
    emulator::clusterBarrier();
}

inline uint32_t inCluster(uint32_t shared, int rank)
{
    return emulator::inCluster(shared, rank);
}

inline void barrierArriveInCluster(uint32_t barrier)
{
    emulator::barrierArriveInCluster(barrier);
}

inline Vector16 loadInCluster16(uint32_t address)
{
    return loadVector(emulator::pointerInCluster(address, 16));
}

inline void fenceAsyncProxy()
{
}

inline void wgmmaFence()
{
}

inline void wgmmaCommit()
{
    emulator::commitProducts();
}

template <int kPending>
void wgmmaWait()
{
    emulator::waitProducts(kPending);
}

template <typename T, int kN>
void wgmmaShared(float (&d)[kN / 2], uint64_t a, uint64_t b, int scaleD)
{
    emulator::issueProduct({d, kN, nullptr, a, b, false, scaleD != 0, IsBf16<T>::kValue});
}

template <typename T, int kN>
void wgmmaRegisters(float (&d)[kN / 2], uint32_t const (&a)[4], uint64_t b, int scaleD)
{
    emulator::issueProduct({d, kN, a, 0, b, true, scaleD != 0, IsBf16<T>::kValue});
}

template <int kCount>
void holdRegisters(float (&)[kCount])
{
}

inline void allowDependents()
{
}

inline void waitForPrerequisites()
{
}

template <int kRegisters>
void takeRegisters()
{
}

template <int kRegisters>
void giveRegisters()
{
}

} // namespace nit
