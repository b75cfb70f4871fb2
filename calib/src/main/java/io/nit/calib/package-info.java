/**
 * The room for FP8 and INT8 calibration: ranges per tensor are collected from sampling runs, turned
 * into scales, and handed to {@code nit-export} as a table of {@link io.nit.core.bundle}. It holds
 * no code yet; engines are built in full precision until it does.
 */
package io.nit.calib;
