// Deals query tiles of ragged images to persistent blocks, from cuSeqlens on the device: the host knows only how many
// tokens and images there are.
//
// Tiles are numbered image by image, within an image head by head, within a head by rows: blocks that run at the same
// time share the keys and values of one head, which then come from the L2 cache. Block b takes tiles b, b + grid, ...:
// every image's tiles are shared evenly, and the order of all sums is fixed, so results are the same in every run.
//
// A tile is up to kMostBands bands of kBandRows query rows, one for each group of warps. A head's bands are dealt
// evenly to the fewest tiles: four bands are 2 + 2, not 3 + 1, since a tile's time is that of its slowest part.
#pragma once

#include "common/device.cuh"

namespace nit
{

constexpr int kBandRows = 64;

struct Tile
{
    int firstToken; //!< of the image
    int length;     //!< of the image; 0: no tile is left
    int head;
    int rows; //!< of queries: the first one within the image, plus the number of bands, since rows are many times those

    NIT_DEVICE int firstRow() const
    {
        return rows & -kBandRows;
    }

    NIT_DEVICE int bands() const
    {
        return rows & (kBandRows - 1);
    }
};

//! One warp's walk over the tiles. All lanes call next() together and get the same answer.
//! kSkipUpTo: images of at most so many tokens are another kernel's.
template <int kMostBands, int kSkipUpTo>
class TileScheduler
{
public:
    NIT_DEVICE TileScheduler(int32_t const* cuSeqlens, int images, int heads)
        : mCuSeqlens(cuSeqlens), mImages(images), mHeads(heads), mOffset(blockIndex()), mFirstImage(-32), mWindow(0),
          mBefore(0), mStart(0), mLength(0)
    {
        fetch(0);
    }

    NIT_DEVICE Tile next()
    {
        // A window of 32 images, one a lane; the walk only goes forward.
        while (mOffset >= mWindow)
        {
            mFirstImage += 32;
            if (mFirstImage >= mImages)
            {
                return Tile{0, 0, 0, 0};
            }
            mOffset -= mWindow;
            load();
        }
        // The last lane whose tiles begin at or before this one; lanes without tiles begin where the next one does.
        int const lane = lastSet(ballot(mBefore <= mOffset));
        unsigned const within = mOffset - shuffleFrom(mBefore, lane);
        int const length = shuffleFrom(mLength, lane);
        unsigned const bands = bandsOf(length);
        unsigned const tiles = tilesOf(bands);
        unsigned const part = within % tiles;
        unsigned const first = part * bands / tiles;
        unsigned const end = (part + 1) * bands / tiles;
        mOffset += gridSize();
        return Tile{
            shuffleFrom(mStart, lane), length, static_cast<int>(within / tiles),
            static_cast<int>(first * kBandRows + end - first)};
    }

private:
    NIT_DEVICE static unsigned bandsOf(int length)
    {
        return static_cast<unsigned>(length + kBandRows - 1) / kBandRows;
    }

    NIT_DEVICE static unsigned tilesOf(unsigned bands)
    {
        return (bands + kMostBands - 1) / kMostBands;
    }

    //! Begins to read a window's lengths, one window ahead of their use.
    NIT_DEVICE void fetch(int firstImage)
    {
        int const image = firstImage + static_cast<int>(threadIndex()) % 32;
        mNextStart = image < mImages ? mCuSeqlens[image] : 0;
        mNextEnd = image < mImages ? mCuSeqlens[image + 1] : 0;
    }

    NIT_DEVICE void load()
    {
        mStart = mNextStart;
        int const length = mNextEnd - mNextStart;
        fetch(mFirstImage + 32);
        mLength = length > kSkipUpTo ? length : 0;
        unsigned const tiles = tilesOf(bandsOf(mLength)) * static_cast<unsigned>(mHeads);
        unsigned sum = tiles;
#pragma unroll
        for (int delta = 1; delta < 32; delta *= 2)
        {
            unsigned const other = shuffleUp(sum, delta);
            sum += static_cast<int>(threadIndex()) % 32 >= delta ? other : 0;
        }
        mBefore = sum - tiles;
        mWindow = shuffleFrom(sum, 31);
    }

    int32_t const* mCuSeqlens;
    int mImages;
    int mHeads;
    unsigned mOffset; // the next tile, counted from the window's first
    int mFirstImage;  // of the window
    unsigned mWindow; // tiles in the window
    unsigned mBefore; // tiles of the window before this lane's image
    int mStart;       // this lane's image
    int mLength;
    int mNextStart; // of the next window
    int mNextEnd;
};

} // namespace nit
