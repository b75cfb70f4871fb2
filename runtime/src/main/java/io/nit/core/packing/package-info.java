/**
 * Packs: many images of any size as one sequence of tokens. {@link io.nit.core.packing.PackLayout}
 * says where each image lies, {@link io.nit.core.packing.Lpfhp} chooses which images share a pack,
 * {@link io.nit.core.packing.SamplerMeta} is the authors' file for that choice.
 */
package io.nit.core.packing;
