package io.nit.trainer.data;

import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;

/** How a picture was brought to its size, under the authors' names. */
public enum DataType {
  /** Its own size, floored to a multiple. */
  NATIVE_RESOLUTION("native-resolution", 0),
  /** The middle square at 256×256. */
  FIXED_256("fixed-256x256", 256),
  /** The middle square at 512×512. */
  FIXED_512("fixed-512x512", 512);

  private final String key;
  private final int side;

  DataType(String key, int side) {
    this.key = key;
    this.side = side;
  }

  /** The name in data meta files. */
  public String key() {
    return key;
  }

  /** Pixels of the square; 0 for native resolution. */
  public int side() {
    return side;
  }

  /** Whether all pictures have one size. */
  boolean oneSize() {
    return side > 0;
  }

  /** End of the names of the authors' latent folders: {@code 256x256}. */
  String folderSuffix() {
    return side == 0 ? key : side + "x" + side;
  }

  /**
   * The type of a name.
   *
   * @throws IllegalArgumentException listing the names, if there is none of that name
   */
  public static DataType parse(String key) {
    for (DataType type : values()) {
      if (type.key.equals(key)) {
        return type;
      }
    }
    List<String> keys = Arrays.stream(values()).map(DataType::key).collect(Collectors.toList());
    throw new IllegalArgumentException(
        "type: expected one of " + String.join(", ", keys) + "; found '" + key + "'");
  }
}
