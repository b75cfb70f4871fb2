/**
 * Complete programs, one per question a user has: sampling from an application ({@link
 * io.nit.samples.EmbedPipeline}), many requests with progress and a stop ({@link
 * io.nit.samples.BatchRequests}), and a server in {@code io.nit.samples.spring}.
 */
package io.nit.samples;
