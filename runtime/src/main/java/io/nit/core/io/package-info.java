/**
 * Writing files whole or not at all ({@link io.nit.core.io.AtomicFile}), and folders that one
 * process at a time works in ({@link io.nit.core.io.FolderLock}); what JSON's parser says ({@link
 * io.nit.core.io.JsonReason}).
 */
package io.nit.core.io;
