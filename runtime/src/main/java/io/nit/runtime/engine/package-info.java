/**
 * What a backend is: {@link io.nit.runtime.engine.VelocityEngine}, made by a provider that is found
 * through {@link java.util.ServiceLoader}, so that no code names one. It may also keep latents
 * where the model runs ({@link io.nit.runtime.engine.ResidentSampling}).
 */
package io.nit.runtime.engine;
