/**
 * A server around a pipeline, in Spring Boot: how an application opens the pipeline once, shares it
 * between its requests, refuses what is too much, and closes it ({@link
 * io.nit.samples.spring.NitServer}).
 */
package io.nit.samples.spring;
