/** Tests of the nit-export command. */
package io.nit.exporter.cli;
