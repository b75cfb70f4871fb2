/**
 * The embeddable sampling API: open a model bundle with {@link io.nit.runtime.NitPipeline}, submit
 * {@link io.nit.runtime.ImageRequest}s, get {@link io.nit.runtime.ImageResult}s. Requests of any
 * sizes share packs; each result depends on its own request alone.
 *
 * <pre>{@code
 * try (NitPipeline pipeline = NitPipeline.open(Path.of("bundle"))) {
 *   ImageRequest request = pipeline.request().label("flag").size(48, 32).seed(1).build();
 *   ImageResult result = pipeline.submit(request).get();
 * }
 * }</pre>
 */
package io.nit.runtime;
