/**
 * What a training minimises: {@link io.nit.trainer.loss.FlowMatchingLoss}, velocity matching on the
 * straight path with the directional term and optional feature alignment (REPA).
 */
package io.nit.trainer.loss;
