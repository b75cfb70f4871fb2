package io.nit.samples.spring;

import io.nit.core.bundle.Bundle;
import io.nit.runtime.NitPipeline;
import io.nit.runtime.engine.EngineException;
import java.io.IOException;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;

/** The pipeline as a bean: opened once, shared by every request. */
@Configuration(proxyBeanMethods = false)
class PipelineConfiguration {
  /**
   * Loads the model. Spring closes the pipeline, as it does every bean with a {@code close}, after
   * the web server has stopped.
   *
   * @throws IOException if a file of the bundle cannot be read
   * @throws EngineException if the backend cannot run the model
   */
  @Bean
  NitPipeline pipeline(ServerProperties properties) throws IOException, EngineException {
    if (Bundle.open(properties.folder()).codec().isEmpty()) {
      throw new IllegalStateException(
          "nit.bundle: expected a bundle with a codec, found one that makes latents only: "
              + properties.folder());
    }
    return NitPipeline.builder(properties.folder())
        .backend(properties.backend())
        .device(properties.device())
        .threads(properties.threads())
        .warmUp()
        .open();
  }
}
