/** The arrows between packages, stated as tests. */
package io.nit.tests.arch;
