/**
 * Flow matching on the straight path: the path itself, the samplers' steps ({@link
 * io.nit.core.flow.Trajectory}), guidance, and the counter-based noise that makes a picture depend
 * on its own seed alone.
 */
package io.nit.core.flow;
