/** The CUDA library: its tables against the exporter's nodes, and the library as Java sees it. */
package io.nit.tests.plugins;
