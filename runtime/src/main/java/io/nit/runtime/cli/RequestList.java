package io.nit.runtime.cli;

import io.nit.runtime.ImageRequest;
import io.nit.runtime.RequestJson;
import io.nit.runtime.RequestValidator;
import java.io.IOException;
import java.nio.charset.MalformedInputException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;

/** The requests of a command line or a file: all checked, each with an id of its own. */
final class RequestList {
  /** Its picture would lie where the contact sheet goes. */
  private static final String RESERVED = "contact-sheet";

  private final RequestValidator rules;
  private final Supplier<ImageRequest.Builder> defaults;
  private final List<ImageRequest> requests = new ArrayList<>();
  private final Map<String, String> places = new HashMap<>(); // by id

  /**
   * An empty list.
   *
   * @param defaults starts each request
   */
  RequestList(RequestValidator rules, Supplier<ImageRequest.Builder> defaults) {
    this.rules = rules;
    this.defaults = defaults;
  }

  /**
   * Every label in every size, {@code count} times with seeds that count up from {@code seed}.
   *
   * @param labels numbers or names; one that is no name may be several, separated by commas
   * @param sizes {@code WIDTHxHEIGHT}, likewise separated by commas
   */
  void addProduct(List<String> labels, List<String> sizes, int count, long seed) {
    for (String label : split(labels)) {
      for (String size : split(sizes)) {
        String place = "--label " + label + " --size " + size;
        for (int k = 0; k < count; k++) {
          try {
            add(defaults.get().label(label).size(size).seed(seed + k).build(), place);
          } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(place + ": " + e.getMessage(), e);
          }
        }
      }
    }
  }

  /**
   * One request a line, as {@link RequestJson} has it; blank lines are skipped.
   *
   * @throws IllegalArgumentException naming the line, if one does not fit
   */
  void addFile(Path file) throws IOException {
    if (Files.isDirectory(file)) {
      throw new IOException("--requests: expected a file, found the folder " + file);
    }
    List<String> lines;
    try {
      lines = Files.readAllLines(file);
    } catch (MalformedInputException e) {
      throw new IllegalArgumentException(file + ": expected UTF-8 text, found other bytes", e);
    }
    for (int i = 0; i < lines.size(); i++) {
      if (lines.get(i).isBlank()) {
        continue;
      }
      String place = file + " line " + (i + 1);
      try {
        add(RequestJson.read(lines.get(i), defaults.get()), place);
      } catch (IllegalArgumentException e) {
        throw new IllegalArgumentException(place + ": " + e.getMessage(), e);
      }
    }
    if (requests.isEmpty()) {
      throw new IllegalArgumentException(file + ": expected requests, found none");
    }
  }

  List<ImageRequest> requests() {
    return requests;
  }

  /** Where a request of this list was made: its line in a file, or the options. */
  String where(ImageRequest request) {
    return places.get(request.id().orElseThrow());
  }

  private void add(ImageRequest request, String place) {
    rules.check(request);
    String id = request.id().orElseGet(() -> unused(name(request)));
    if (id.equals(RESERVED)) {
      throw new IllegalArgumentException("id: expected any but " + RESERVED + ", found that");
    }
    if (places.putIfAbsent(id, place) != null) {
      throw new IllegalArgumentException("id: expected each once, found '" + id + "' again");
    }
    requests.add(request.toBuilder().id(id).build());
  }

  /** An id that says what is asked for, such as {@code cat-face-64x56-7}. */
  private static String name(ImageRequest request) {
    String label = request.label().replaceAll("[^A-Za-z0-9]+", "-").replaceAll("^-|-$", "");
    return (label.length() > 40 ? label.substring(0, 40) : label.isEmpty() ? "label" : label)
        + "-"
        + request.width()
        + "x"
        + request.height()
        + "-"
        + request.seed();
  }

  private String unused(String name) {
    String id = name;
    for (int n = 2; places.containsKey(id); n++) {
      id = name + "-" + n;
    }
    return id;
  }

  private List<String> split(List<String> values) {
    List<String> all = new ArrayList<>();
    for (String value : values) {
      if (isLabel(value)) {
        all.add(value); // names may hold commas
      } else {
        all.addAll(List.of(value.split("\\s*,\\s*", -1)));
      }
    }
    return all;
  }

  private boolean isLabel(String value) {
    try {
      rules.label(value);
      return true;
    } catch (IllegalArgumentException e) {
      return false;
    }
  }
}
