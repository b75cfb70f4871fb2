/** Writing files whole or not at all ({@link io.nit.core.io.AtomicFile}). */
package io.nit.core.io;
