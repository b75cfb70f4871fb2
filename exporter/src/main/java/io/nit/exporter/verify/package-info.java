/**
 * Proves an exported file: the same inputs through the file on a backend and through the plain Java
 * reference, compared number by number.
 */
package io.nit.exporter.verify;
