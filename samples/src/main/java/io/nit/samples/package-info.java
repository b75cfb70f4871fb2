/**
 * Complete programs, one per question a user has: sampling from an application ({@link
 * io.nit.samples.EmbedPipeline}), and many requests with progress and a stop ({@link
 * io.nit.samples.BatchRequests}).
 */
package io.nit.samples;
