/**
 * What the tests of this module and of those that use it share, over what {@code io.nit.testing}
 * has. Shipped as the exporter test jar.
 */
package io.nit.exporter.testing;
