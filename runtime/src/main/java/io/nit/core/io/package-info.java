/**
 * Writing files whole or not at all ({@link io.nit.core.io.AtomicFile}), and folders that one
 * process at a time works in ({@link io.nit.core.io.FolderLock}).
 */
package io.nit.core.io;
