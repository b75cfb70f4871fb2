#include "test/emulator/emulator.h"

#include <algorithm>
#include <csetjmp>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <ucontext.h>
#include <vector>

namespace nit
{
namespace emulator
{
namespace
{

constexpr size_t kStackBytes = 256 * 1024;
constexpr uint32_t kSharedStart = 1024; // 0 is no address
constexpr unsigned kRankShift = 24;     // an address of the cluster has the block's rank + 1 above its own bits

enum class Operation
{
    kNone,
    kShuffle,
    kBallot,
    kLoadMatrices,
    kMultiplyAdd,
    kWaitProducts,
};

struct Copy
{
    uint32_t shared;
    void const* global;
    int bytes;
};

struct Thread
{
    ucontext_t start;
    jmp_buf state;
    std::unique_ptr<unsigned char[]> stack;
    unsigned index = 0;
    bool started = false;
    bool done = false;
    char const* waitsFor = "";
    std::deque<std::vector<Copy>> copies;      // the last one is open
    std::deque<std::vector<Product>> products; // the last one is open
};

//! One lane's part of a warp-wide operation.
struct Part
{
    uint64_t value = 0;
    uint32_t address = 0;
    uint32_t* registers = nullptr;
    float* d = nullptr;
    uint32_t a[4] = {};
    uint32_t b[2] = {};
};

struct Warp
{
    Operation operation = Operation::kNone;
    int arrived = 0;
    uint64_t generation = 0;
    Part parts[32];
    uint64_t results[2][32] = {};
};

struct NamedBarrier
{
    int arrived = 0;
    uint64_t generation = 0;
};

struct PhaseBarrier
{
    unsigned arrivals = 0;
    unsigned pending = 0;
    int64_t bytes = 0;
    unsigned phase = 0;
};

struct BoxCopy
{
    uint32_t shared;
    TensorMap map; //!< without sizes: `bytes` from its base as they lie
    uint32_t barrier;
    int coordinates[5];
    unsigned bytes;
};

struct Cluster;

struct Block
{
    Cluster* cluster = nullptr;
    std::vector<Thread> threads;
    std::vector<Warp> warps;
    std::map<int, NamedBarrier> named;
    std::map<uint32_t, PhaseBarrier> phases;
    std::deque<BoxCopy> boxes;
    unsigned char* shared = nullptr;
    size_t sharedBytes = 0;
    Grid at{0, 0};
    Grid grid{0};
    uint64_t progress = 0;
    Options options;

    bool alive() const
    {
        return std::any_of(threads.begin(), threads.end(), [](Thread const& thread) { return !thread.done; });
    }
};

struct Cluster
{
    std::vector<Block> blocks;
    NamedBarrier barrier;
    std::string failure;

    uint64_t progress() const
    {
        uint64_t sum = 0;
        for (Block const& block : blocks)
        {
            sum += block.progress;
        }
        return sum;
    }
};

Block* gBlock = nullptr;
Thread* gThread = nullptr;
jmp_buf gScheduler;
std::function<void()> const* gBody = nullptr;

[[noreturn]] void leave()
{
    _longjmp(gScheduler, 1);
}

void yield()
{
    if (_setjmp(gThread->state) == 0)
    {
        leave();
    }
}

std::string where(Block const& block)
{
    return std::to_string(block.at.x) + ", " + std::to_string(block.at.y);
}

//! Ends the launch with a message. Exceptions cannot cross fibers.
[[noreturn]] void fail(std::string const& message)
{
    gBlock->cluster->failure = "block " + where(*gBlock) + " thread " + std::to_string(gThread->index) + ": " + message;
    gThread->done = true;
    leave();
}

template <typename Condition>
void waitUntil(Condition const& condition, char const* what)
{
    gThread->waitsFor = what;
    while (!condition())
    {
        yield();
    }
    ++gBlock->progress;
}

void fiber()
{
    (*gBody)();
    if (gThread->products.size() > 1 || !gThread->products.back().empty())
    {
        fail("a thread ended with products that nobody waited for");
    }
    gThread->done = true;
    ++gBlock->progress;
    leave();
}

Warp& warp()
{
    return gBlock->warps[gThread->index / 32];
}

int lane()
{
    return static_cast<int>(gThread->index % 32);
}

//! All lanes bring their part; the last one computes.
template <typename Compute>
uint64_t together(Operation operation, char const* name, Part const& part, Compute const& compute)
{
    Warp& w = warp();
    if (w.arrived == 0)
    {
        w.operation = operation;
    }
    else if (w.operation != operation)
    {
        fail(std::string(name) + " met another warp-wide operation: the lanes have parted");
    }
    w.parts[lane()] = part;
    uint64_t const generation = w.generation;
    if (++w.arrived == 32)
    {
        compute(w, w.results[generation % 2]);
        w.arrived = 0;
        ++w.generation;
        ++gBlock->progress;
    }
    else
    {
        waitUntil([&w, generation] { return w.generation != generation; }, name);
    }
    return w.results[generation % 2][lane()];
}

float widen(uint16_t bits, bool bf16)
{
    if (!bf16)
    {
        return widenFp16(bits);
    }
    uint32_t const wide = static_cast<uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &wide, 4);
    return value;
}

float half(uint32_t pair, int which, bool bf16)
{
    return widen(static_cast<uint16_t>(which == 0 ? pair & 0xffffu : pair >> 16), bf16);
}

void execute(std::vector<Copy> const& group)
{
    for (Copy const& copy : group)
    {
        unsigned char* target = static_cast<unsigned char*>(sharedPointer(copy.shared, 16));
        std::memset(target, 0, 16);
        std::memcpy(target, copy.global, static_cast<size_t>(copy.bytes));
    }
}

PhaseBarrier& phase(uint32_t address)
{
    auto const found = gBlock->phases.find(address);
    if (found == gBlock->phases.end())
    {
        fail("an mbarrier was used before it was initialised");
    }
    return found->second;
}

void settle(PhaseBarrier& barrier)
{
    if (barrier.pending == 0 && barrier.bytes == 0)
    {
        barrier.phase ^= 1;
        barrier.pending = barrier.arrivals;
    }
    ++gBlock->progress;
}

//! Where the swizzle puts a byte: address bits 4.. are exchanged by those above bit 7.
uint32_t swizzled(uint32_t address, int swizzle)
{
    switch (swizzle)
    {
    case 1:
        return address ^ ((address >> 7 & 7) << 4);
    case 3:
        return address ^ ((address >> 7 & 1) << 4);
    default:
        return address;
    }
}

//! A bulk copy's bytes have come.
void arrive(uint32_t address, int64_t bytes)
{
    PhaseBarrier& barrier = phase(address);
    barrier.bytes -= bytes;
    // In a cluster, another block's copy may come before this one expects it.
    if (barrier.bytes < 0 && gBlock->cluster->blocks.size() == 1)
    {
        fail("an mbarrier got more bytes than it expected");
    }
    settle(barrier);
}

void execute(BoxCopy const& copy)
{
    TensorMap const& map = copy.map;
    if (copy.bytes != 0)
    {
        std::memcpy(sharedPointer(copy.shared, copy.bytes), map.base, copy.bytes);
        return arrive(copy.barrier, copy.bytes);
    }
    uint32_t const innerBytes = map.box[0] * 2;
    if (innerBytes != (map.swizzle == 1 ? 128u : 32u))
    {
        fail("a box's rows must be as wide as its swizzle: found " + std::to_string(innerBytes) + " bytes");
    }
    uint64_t const rows = static_cast<uint64_t>(map.box[1]) * map.box[2] * map.box[3] * map.box[4];
    for (uint64_t row = 0; row < rows; ++row)
    {
        uint64_t rest = row;
        uint64_t address = reinterpret_cast<uint64_t>(map.base);
        bool inside = true;
        for (int i = 1; i < 5; ++i)
        {
            int64_t const c = copy.coordinates[i] + static_cast<int64_t>(rest % map.box[i]);
            rest /= map.box[i];
            inside = inside && c >= 0 && static_cast<uint64_t>(c) < map.sizes[i];
            address += static_cast<uint64_t>(c) * map.strides[i - 1]; // modulo 2^64, as the engine does
        }
        for (uint32_t column = 0; column < map.box[0]; ++column)
        {
            int64_t const c = copy.coordinates[0] + static_cast<int64_t>(column);
            uint16_t value = 0;
            if (inside && c >= 0 && static_cast<uint64_t>(c) < map.sizes[0])
            {
                std::memcpy(&value, reinterpret_cast<void const*>(address + static_cast<uint64_t>(c) * 2), 2);
            }
            uint32_t const target =
                swizzled(copy.shared + static_cast<uint32_t>(row) * innerBytes + column * 2, map.swizzle);
            std::memcpy(sharedPointer(target, 2), &value, 2);
        }
    }
    arrive(copy.barrier, static_cast<int64_t>(rows * innerBytes));
}

struct Descriptor
{
    uint32_t start;
    uint32_t leading;
    uint32_t stride;
    int swizzle;

    explicit Descriptor(uint64_t bits)
        : start(static_cast<uint32_t>(bits & 0x3fff) << 4), leading(static_cast<uint32_t>(bits >> 16 & 0x3fff) << 4),
          stride(static_cast<uint32_t>(bits >> 32 & 0x3fff) << 4), swizzle(static_cast<int>(bits >> 62))
    {
    }

    //! Element (row, k) of a K-major operand.
    uint16_t byRows(int row, int k) const
    {
        uint32_t const pitch = swizzle == 1 ? 128 : 32;
        return read(
            start + static_cast<uint32_t>(row / 8) * stride + static_cast<uint32_t>(row % 8) * pitch +
            static_cast<uint32_t>(k) * 2);
    }

    //! Element (n, k) of an N-major operand of 128-byte rows.
    uint16_t byColumns(int n, int k) const
    {
        if (swizzle != 1)
        {
            fail("an N-major operand with another swizzle than 128 bytes");
        }
        return read(
            start + static_cast<uint32_t>(n / 64) * leading + static_cast<uint32_t>(n % 64) * 2 +
            static_cast<uint32_t>(k / 8) * stride + static_cast<uint32_t>(k % 8) * 128);
    }

    uint16_t read(uint32_t address) const
    {
        uint16_t bits;
        std::memcpy(&bits, sharedPointer(swizzled(address, swizzle), 2), 2);
        return bits;
    }
};

//! One warp's 16 rows of a warpgroup's product. products: the same one as each lane issued it.
void execute(std::vector<Product const*> const& products, int warpRow)
{
    Product const& any = *products[0];
    float a[16][16];
    for (int row = 0; row < 16; ++row)
    {
        for (int k = 0; k < 16; ++k)
        {
            if (any.a == nullptr)
            {
                a[row][k] = widen(Descriptor(any.aDescriptor).byRows(warpRow + row, k), any.bf16);
            }
            else
            {
                uint32_t const* registers = products[static_cast<size_t>(row % 8 * 4 + k % 8 / 2)]->a;
                a[row][k] = half(registers[row / 8 + k / 8 * 2], k % 2, any.bf16);
            }
        }
    }
    Descriptor const right(any.bDescriptor);
    std::vector<float> b(static_cast<size_t>(any.columns) * 16);
    for (int n = 0; n < any.columns; ++n)
    {
        for (int k = 0; k < 16; ++k)
        {
            b[static_cast<size_t>(n * 16 + k)] =
                widen(any.bByColumns ? right.byColumns(n, k) : right.byRows(n, k), any.bf16);
        }
    }
    for (int l = 0; l < 32; ++l)
    {
        for (int n = 0; n < any.columns; n += 8)
        {
            for (int i = 0; i < 4; ++i)
            {
                int const row = l / 4 + i / 2 * 8;
                int const column = n + l % 4 * 2 + i % 2;
                float& d = products[static_cast<size_t>(l)]->d[n / 2 + i];
                float sum = any.accumulate ? d : 0.0f;
                for (int k = 0; k < 16; ++k)
                {
                    sum += a[row][k] * b[static_cast<size_t>(column * 16 + k)];
                }
                d = sum;
            }
        }
    }
}

//! Not inlined: what stands around setjmp must not be kept in registers over it.
__attribute__((noinline)) void resume(Thread& thread)
{
    gThread = &thread;
    if (_setjmp(gScheduler) == 0)
    {
        if (!thread.started)
        {
            thread.started = true;
            setcontext(&thread.start);
        }
        _longjmp(thread.state, 1);
    }
}

//! Not inlined, for the same reason: getcontext returns twice.
__attribute__((noinline)) void prepare(Thread& thread, unsigned index)
{
    thread.index = index;
    thread.started = false;
    thread.done = false;
    thread.copies.assign(1, {});
    thread.products.assign(1, {});
    getcontext(&thread.start);
    thread.start.uc_stack.ss_sp = thread.stack.get();
    thread.start.uc_stack.ss_size = kStackBytes;
    thread.start.uc_link = nullptr;
    makecontext(&thread.start, fiber, 0);
}

[[noreturn]] void deadlock(Cluster const& cluster)
{
    std::string message = "deadlock:";
    for (Block const& block : cluster.blocks)
    {
        for (Thread const& thread : block.threads)
        {
            if (!thread.done && thread.index % 32 == 0)
            {
                message += " block " + where(block) + " warp " + std::to_string(thread.index / 32) + " waits for " +
                           thread.waitsFor + ";";
            }
        }
    }
    throw std::runtime_error(message);
}

//! One turn of every thread of the block that has one. Returns whether any is left.
bool runTurn(Block& block, std::vector<bool> const& slow, bool everyone, std::mt19937& random)
{
    gBlock = &block;
    bool alive = false;
    for (size_t first = 0; first < block.threads.size(); first += 32)
    {
        bool const hasTurn = everyone || !slow[first / 32] || random() % 100 == 0;
        for (size_t i = first; i < std::min(first + 32, block.threads.size()); ++i)
        {
            if (hasTurn && !block.threads[i].done)
            {
                resume(block.threads[i]);
            }
            alive = alive || !block.threads[i].done;
            if (!block.cluster->failure.empty())
            {
                throw std::runtime_error(block.cluster->failure);
            }
        }
    }
    return alive;
}

//! Does one of the copies that are under way, in any block: the engine keeps no order. Returns false without one.
bool runCopy(Cluster& cluster, std::mt19937& random)
{
    size_t count = 0;
    for (Block const& block : cluster.blocks)
    {
        count += block.boxes.size();
    }
    if (count == 0)
    {
        return false;
    }
    size_t which = cluster.blocks[0].options.seed == 0 ? 0 : random() % count;
    for (Block& block : cluster.blocks)
    {
        if (which < block.boxes.size())
        {
            auto const found = block.boxes.begin() + static_cast<std::ptrdiff_t>(which);
            BoxCopy const copy = *found;
            block.boxes.erase(found);
            gBlock = &block;
            execute(copy);
            return true;
        }
        which -= block.boxes.size();
    }
    return false;
}

void runCluster(Cluster& cluster, std::mt19937& random)
{
    Options const options = cluster.blocks[0].options;
    bool everyone = true; // has a turn in this pass
    // With a seed, some warps stand nearly still for a while and the others run far ahead; then the roles are drawn
    // anew.
    std::vector<std::vector<bool>> slow(cluster.blocks.size(), std::vector<bool>(cluster.blocks[0].warps.size()));
    for (unsigned pass = 0;; ++pass)
    {
        if (options.seed != 0 && pass % 100 == 0)
        {
            for (std::vector<bool>& block : slow)
            {
                for (size_t i = 0; i < block.size(); ++i)
                {
                    block[i] = random() % 2 == 0;
                }
            }
        }
        uint64_t const before = cluster.progress();
        bool alive = false;
        for (size_t i = 0; i < cluster.blocks.size(); ++i)
        {
            alive = runTurn(cluster.blocks[i], slow[i], everyone, random) || alive;
        }
        if (!alive)
        {
            break;
        }
        bool const stuck = cluster.progress() == before;
        if (stuck && everyone && !runCopy(cluster, random))
        {
            deadlock(cluster);
        }
        everyone = options.seed == 0 || stuck;
    }
    for (Block const& block : cluster.blocks)
    {
        if (!block.boxes.empty())
        {
            throw std::runtime_error("the block ended with bulk copies under way");
        }
        for (auto const& entry : block.phases)
        {
            if (entry.second.bytes != 0)
            {
                throw std::runtime_error("the block ended with bytes expected at an mbarrier");
            }
        }
    }
}

//! Block `rank` of this cluster, which must not have left.
Block& member(unsigned rank)
{
    std::vector<Block>& blocks = gBlock->cluster->blocks;
    if (rank >= blocks.size())
    {
        fail("block " + std::to_string(rank) + " of a cluster of " + std::to_string(blocks.size()));
    }
    if (!blocks[rank].alive())
    {
        fail("block " + std::to_string(rank) + " of the cluster has left, and its shared memory with it");
    }
    return blocks[rank];
}

//! Runs `body` with the block that the cluster's address names, and the address in that block.
template <typename Body>
auto inMember(uint32_t address, Body const& body)
{
    Block* const self = gBlock;
    gBlock = &member((address >> kRankShift) - 1);
    auto const result = body(address & ((1u << kRankShift) - 1));
    gBlock = self;
    return result;
}

} // namespace

void launch(
    Grid grid, unsigned threads, size_t sharedBytes, Options const& options, std::function<void()> const& body,
    unsigned clusterBlocks)
{
    std::mt19937 random(options.seed);
    size_t const arena = (kSharedStart + sharedBytes + 1023) / 1024 * 1024;
    using Arena = std::unique_ptr<unsigned char, void (*)(void*)>;
    std::vector<Arena> memory;
    Cluster cluster;
    cluster.blocks = std::vector<Block>(clusterBlocks);
    gBody = &body;
    for (Block& block : cluster.blocks)
    {
        memory.emplace_back(static_cast<unsigned char*>(std::aligned_alloc(1024, arena)), std::free);
        block.cluster = &cluster;
        block.options = options;
        block.threads = std::vector<Thread>(threads);
        for (Thread& thread : block.threads)
        {
            thread.stack.reset(new unsigned char[kStackBytes]); // not cleared: make_unique would
        }
    }
    if (grid.x % clusterBlocks != 0)
    {
        throw std::runtime_error("the grid is not made of whole clusters");
    }
    for (unsigned first = 0; first < grid.x * grid.y; first += clusterBlocks)
    {
        cluster.barrier = NamedBarrier();
        for (unsigned rank = 0; rank < clusterBlocks; ++rank)
        {
            Block& block = cluster.blocks[rank];
            std::memset(memory[rank].get(), 0xff, arena); // NaNs
            block.at = Grid((first + rank) % grid.x, first / grid.x);
            block.warps = std::vector<Warp>((threads + 31) / 32);
            block.named.clear();
            block.phases.clear();
            block.shared = memory[rank].get() + kSharedStart;
            block.sharedBytes = sharedBytes;
            block.grid = grid;
            for (unsigned i = 0; i < threads; ++i)
            {
                prepare(block.threads[i], i);
            }
        }
        runCluster(cluster, random);
    }
    gBlock = nullptr;
}

unsigned char* sharedMemory()
{
    return gBlock->shared;
}

unsigned threadIndex()
{
    return gThread->index;
}

unsigned blockIndex()
{
    return gBlock->at.x;
}

unsigned blockIndexY()
{
    return gBlock->at.y;
}

unsigned clusterRank()
{
    return gBlock->at.x % static_cast<unsigned>(gBlock->cluster->blocks.size());
}

unsigned clusterIndex()
{
    return gBlock->at.x / static_cast<unsigned>(gBlock->cluster->blocks.size());
}

unsigned gridSize()
{
    return gBlock->grid.x;
}

void barrier(int id, int threads, bool wait)
{
    NamedBarrier& named = gBlock->named[id];
    uint64_t const generation = named.generation;
    ++gBlock->progress;
    if (++named.arrived == threads)
    {
        named.arrived = 0;
        ++named.generation;
    }
    else if (wait)
    {
        waitUntil([&named, generation] { return named.generation != generation; }, "a named barrier");
    }
}

void blockBarrier()
{
    barrier(0, static_cast<int>(gBlock->threads.size()), true);
}

uint64_t shuffle(uint64_t value, int source, bool valid)
{
    Part part;
    part.value = value;
    part.address = static_cast<uint32_t>(valid ? source : lane());
    return together(
        Operation::kShuffle, "a shuffle", part,
        [](Warp& w, uint64_t(&results)[32])
        {
            for (int i = 0; i < 32; ++i)
            {
                results[i] = w.parts[w.parts[i].address].value;
            }
        });
}

unsigned ballot(bool predicate)
{
    Part part;
    part.value = predicate ? 1 : 0;
    uint64_t const mask = together(
        Operation::kBallot, "a ballot", part,
        [](Warp& w, uint64_t(&results)[32])
        {
            uint64_t all = 0;
            for (int i = 0; i < 32; ++i)
            {
                all |= w.parts[i].value << i;
            }
            std::fill(results, results + 32, all);
        });
    return static_cast<unsigned>(mask);
}

void* sharedPointer(uint32_t address, size_t bytes)
{
    if (address < kSharedStart || address - kSharedStart + bytes > gBlock->sharedBytes)
    {
        fail(
            "shared address " + std::to_string(static_cast<int64_t>(address) - kSharedStart) + " of " +
            std::to_string(gBlock->sharedBytes) + " bytes");
    }
    if (address % std::min<size_t>(bytes, 16) != 0)
    {
        fail("a shared access of " + std::to_string(bytes) + " bytes is not aligned");
    }
    return gBlock->shared + (address - kSharedStart);
}

uint32_t sharedAddress(void const* pointer)
{
    return static_cast<uint32_t>(static_cast<unsigned char const*>(pointer) - gBlock->shared) + kSharedStart;
}

void copyAsync16(uint32_t shared, void const* global, int bytes)
{
    gThread->copies.back().push_back({shared, global, bytes});
}

void commitCopies()
{
    gThread->copies.emplace_back();
}

void waitCopies(int pending)
{
    while (gThread->copies.size() > static_cast<size_t>(pending) + 1)
    {
        execute(gThread->copies.front());
        gThread->copies.pop_front();
    }
}

void loadMatrices(uint32_t (&registers)[4], uint32_t address, bool transposed)
{
    Part part;
    part.address = address;
    part.registers = registers;
    together(
        Operation::kLoadMatrices, "ldmatrix", part,
        [transposed](Warp& w, uint64_t(&)[32])
        {
            for (int matrix = 0; matrix < 4; ++matrix)
            {
                uint16_t values[8][8];
                for (int row = 0; row < 8; ++row)
                {
                    std::memcpy(values[row], sharedPointer(w.parts[matrix * 8 + row].address, 16), 16);
                }
                for (int i = 0; i < 32; ++i)
                {
                    int const major = i / 4;
                    int const minor = i % 4 * 2;
                    uint32_t const first = transposed ? values[minor][major] : values[major][minor];
                    uint32_t const second = transposed ? values[minor + 1][major] : values[major][minor + 1];
                    w.parts[i].registers[matrix] = first | second << 16;
                }
            }
        });
}

void multiplyAdd(float (&d)[4], uint32_t const (&a)[4], uint32_t b0, uint32_t b1, bool bf16)
{
    Part part;
    part.d = d;
    std::copy(a, a + 4, part.a);
    part.b[0] = b0;
    part.b[1] = b1;
    together(
        Operation::kMultiplyAdd, "mma", part,
        [bf16](Warp& w, uint64_t(&)[32])
        {
            float left[16][16];
            float right[16][8];
            for (int i = 0; i < 32; ++i)
            {
                for (int j = 0; j < 8; ++j)
                {
                    left[i / 4 + j / 2 % 2 * 8][i % 4 * 2 + j % 2 + j / 4 * 8] = half(w.parts[i].a[j / 2], j % 2, bf16);
                }
                for (int j = 0; j < 4; ++j)
                {
                    right[i % 4 * 2 + j % 2 + j / 2 * 8][i / 4] = half(w.parts[i].b[j / 2], j % 2, bf16);
                }
            }
            for (int i = 0; i < 32; ++i)
            {
                for (int j = 0; j < 4; ++j)
                {
                    float sum = w.parts[i].d[j];
                    for (int k = 0; k < 16; ++k)
                    {
                        sum += left[i / 4 + j / 2 * 8][k] * right[k][i % 4 * 2 + j % 2];
                    }
                    w.parts[i].d[j] = sum;
                }
            }
        });
}

void barrierInit(uint32_t address, unsigned arrivals)
{
    sharedPointer(address, 8);
    gBlock->phases[address] = PhaseBarrier{arrivals, arrivals, 0, 0};
}

void barrierArrive(uint32_t address, unsigned expectedBytes)
{
    PhaseBarrier& barrier = phase(address);
    if (barrier.pending == 0)
    {
        fail("an mbarrier got more arrivals than it was initialised for");
    }
    barrier.bytes += expectedBytes;
    --barrier.pending;
    settle(barrier);
}

void barrierWait(uint32_t address, unsigned parity)
{
    PhaseBarrier& barrier = phase(address);
    waitUntil([&barrier, parity] { return barrier.phase != parity; }, "an mbarrier");
}

namespace
{

void begin(BoxCopy const& copy)
{
    if (gBlock->options.lateCopies)
    {
        gBlock->boxes.push_back(copy);
    }
    else
    {
        execute(copy);
    }
}

} // namespace

void copyBox(uint32_t shared, TensorMap const& map, uint32_t barrier, int const (&coordinates)[5])
{
    if (shared % 128 != 0)
    {
        fail("a box's shared address is not aligned to 128 bytes");
    }
    BoxCopy copy{shared, map, barrier, {}, 0};
    std::copy(coordinates, coordinates + 5, copy.coordinates);
    begin(copy);
}

void copyBytes(uint32_t shared, void const* global, unsigned bytes, uint32_t barrier)
{
    if (shared % 16 != 0 || reinterpret_cast<uintptr_t>(global) % 16 != 0 || bytes % 16 != 0 || bytes == 0)
    {
        fail("a bulk copy's addresses and bytes are not multiples of 16");
    }
    TensorMap map{};
    map.base = global;
    begin({shared, map, barrier, {}, bytes});
}

void copyBoxToMany(
    uint32_t shared, TensorMap const& map, uint32_t barrier, int const (&coordinates)[5], unsigned blocks)
{
    for (unsigned rank = 0; rank < 32; ++rank)
    {
        if ((blocks >> rank & 1) != 0)
        {
            inMember(
                inCluster(shared, static_cast<int>(rank)),
                [&](uint32_t local)
                {
                    copyBox(local, map, barrier, coordinates); // each block's copy arrives when it likes
                    return 0;
                });
        }
    }
}

void clusterBarrier()
{
    Cluster& cluster = *gBlock->cluster;
    uint64_t const generation = cluster.barrier.generation;
    ++gBlock->progress;
    size_t const everyone = cluster.blocks.size() * cluster.blocks[0].threads.size();
    if (static_cast<size_t>(++cluster.barrier.arrived) == everyone)
    {
        cluster.barrier.arrived = 0;
        ++cluster.barrier.generation;
    }
    else
    {
        waitUntil([&cluster, generation] { return cluster.barrier.generation != generation; }, "the cluster");
    }
}

uint32_t inCluster(uint32_t shared, int rank)
{
    return shared | (static_cast<uint32_t>(rank) + 1) << kRankShift;
}

void barrierArriveInCluster(uint32_t address)
{
    inMember(
        address,
        [](uint32_t local)
        {
            barrierArrive(local, 0);
            return 0;
        });
}

void* pointerInCluster(uint32_t address, size_t bytes)
{
    return inMember(address, [bytes](uint32_t local) { return sharedPointer(local, bytes); });
}

void issueProduct(Product const& product)
{
    gThread->products.back().push_back(product);
}

void commitProducts()
{
    gThread->products.emplace_back();
}

void waitProducts(int pending)
{
    together(
        Operation::kWaitProducts, "wgmma", Part{},
        [pending](Warp&, uint64_t(&)[32])
        {
            unsigned const first = gThread->index / 32 * 32;
            std::vector<Thread>& threads = gBlock->threads;
            while (threads[first].products.size() > static_cast<size_t>(pending) + 1)
            {
                size_t const count = threads[first].products.front().size();
                for (size_t i = 0; i < count; ++i)
                {
                    std::vector<Product const*> lanes;
                    for (unsigned l = 0; l < 32; ++l)
                    {
                        lanes.push_back(&threads[first + l].products.front().at(i));
                    }
                    execute(lanes, static_cast<int>(first / 32 % 4 * 16));
                }
                for (unsigned l = 0; l < 32; ++l)
                {
                    threads[first + l].products.pop_front();
                }
            }
        });
}

uint16_t roundBf16(float value)
{
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
    {
        return 0x7fff;
    }
    return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

uint16_t roundFp16(float value)
{
    _Float16 const rounded = static_cast<_Float16>(value);
    uint16_t bits;
    std::memcpy(&bits, &rounded, 2);
    return bits;
}

float widenFp16(uint16_t bits)
{
    _Float16 value;
    std::memcpy(&value, &bits, 2);
    return static_cast<float>(value);
}

} // namespace emulator
} // namespace nit
