// Deals query tiles of ragged images to persistent blocks, from cuSeqlens on the device: the host knows only how many
// tokens and images there are.
//
// Tiles are numbered image by image, within an image head by head, within a head by rows: blocks that run at the same
// time share the keys and values of one head, which then come from the L2 cache. Block b takes tiles b, b + grid, ...:
// every image's tiles are shared evenly, and the order of all sums is fixed, so results are the same in every run.
#pragma once

#include "common/device.cuh"

namespace nit
{

struct Tile
{
    int firstToken; //!< of the image
    int length;     //!< of the image; 0: no tile is left
    int head;
    int row; //!< first query row of the tile, within the image
};

//! One warp's walk over the tiles. All lanes call next() together and get the same answer.
//! kSkipUpTo: images of at most so many tokens are another kernel's.
template <int kRows, int kSkipUpTo>
class TileScheduler
{
public:
    NIT_DEVICE TileScheduler(int32_t const* cuSeqlens, int images, int heads)
        : mCuSeqlens(cuSeqlens), mImages(images), mHeads(heads), mTile(blockIndex()), mFirstImage(-32), mBase(0),
          mWindow(0), mBefore(0), mStart(0), mLength(0)
    {
    }

    NIT_DEVICE Tile next()
    {
        // A window of 32 images, one a lane; the walk only goes forward.
        while (mTile >= mBase + mWindow)
        {
            mFirstImage += 32;
            if (mFirstImage >= mImages)
            {
                return Tile{0, 0, 0, 0};
            }
            mBase += mWindow;
            load();
        }
        unsigned const offset = mTile - mBase;
        // The last lane whose tiles begin at or before this one; lanes without tiles begin where the next one does.
        int const lane = lastSet(ballot(mBefore <= offset));
        unsigned const within = offset - shuffleFrom(mBefore, lane);
        int const length = shuffleFrom(mLength, lane);
        unsigned const rowTiles = static_cast<unsigned>((length + kRows - 1) / kRows);
        Tile const tile{
            shuffleFrom(mStart, lane), length, static_cast<int>(within / rowTiles),
            static_cast<int>(within % rowTiles) * kRows};
        mTile += gridSize();
        return tile;
    }

private:
    NIT_DEVICE void load()
    {
        int const image = mFirstImage + static_cast<int>(threadIndex()) % 32;
        mStart = image < mImages ? mCuSeqlens[image] : 0;
        int const length = image < mImages ? mCuSeqlens[image + 1] - mStart : 0;
        mLength = length > kSkipUpTo ? length : 0;
        unsigned const tiles = static_cast<unsigned>((mLength + kRows - 1) / kRows) * static_cast<unsigned>(mHeads);
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
    unsigned mTile;   // the next one
    int mFirstImage;  // of the window
    unsigned mBase;   // tiles before the window
    unsigned mWindow; // tiles in the window
    unsigned mBefore; // tiles of the window before this lane's image
    int mStart;       // this lane's image
    int mLength;
};

} // namespace nit
