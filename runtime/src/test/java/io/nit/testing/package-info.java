/**
 * What the tests of all modules share: golden numbers and error measures. Shipped as the runtime
 * test jar.
 */
package io.nit.testing;
