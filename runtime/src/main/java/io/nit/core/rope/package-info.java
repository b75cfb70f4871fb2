/**
 * 2-D rotary position embedding ({@link io.nit.core.rope.Rope2d}) in both position orders and every
 * extrapolation mode, per image.
 */
package io.nit.core.rope;
