package io.nit.trainer.reconstruction;

/**
 * What a step is trained on.
 *
 * @param rgb [batch, crop, crop, 3], row-major, not copied
 * @param pictures [batch] which pictures they were cut from
 * @param crop pixels of a side
 */
record CropBatch(byte[] rgb, int[] pictures, int crop) {
  /** Crops. */
  int size() {
    return pictures.length;
  }

  /** Bytes of one crop. */
  int cropBytes() {
    return 3 * crop * crop;
  }
}
