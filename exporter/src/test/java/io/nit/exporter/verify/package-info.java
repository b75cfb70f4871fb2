/** Tests of io.nit.exporter.verify. */
package io.nit.exporter.verify;
