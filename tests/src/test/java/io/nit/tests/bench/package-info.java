/**
 * Benchmarks (JMH), started by {@code scripts/bench}; their results stand in {@code
 * tests/bench/RESULTS.md}.
 */
package io.nit.tests.bench;
