/**
 * Proves an exported file: the same inputs through the file on a backend and through the plain Java
 * reference, and through the trainer's forward where it is on the class path, compared number by
 * number.
 */
package io.nit.exporter.verify;
