/**
 * Writing files whole or not at all ({@link io.nit.core.io.AtomicFile}), and folders that one
 * process at a time works in ({@link io.nit.core.io.FolderLock}); reading text with failures that
 * name its file ({@link io.nit.core.io.TextFile}); what is wrong with JSON ({@link
 * io.nit.core.io.JsonReason}).
 */
package io.nit.core.io;
