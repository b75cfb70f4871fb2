package io.nit.samples.spring;

import io.nit.core.cli.StopSignal;
import io.nit.runtime.NitPipeline;
import org.springframework.boot.Banner;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.context.properties.ConfigurationPropertiesScan;
import org.springframework.context.ConfigurableApplicationContext;

/**
 * How do I serve pictures from a Spring Boot application? {@code POST /v1/images} makes one, {@code
 * GET /v1/model} tells what there is to ask for.
 *
 * <pre>{@code
 * NitServer --nit.bundle=BUNDLE [--nit.backend=NAME] [--nit.device=N] [--server.port=8080]
 * curl localhost:8080/v1/images --json '{"label": "cat-face", "width": 64, "height": 56}' -o a.png
 * }</pre>
 *
 * {@link ServerProperties} lists the settings, {@code application.properties} those of Spring. The
 * port opens when the model is loaded, so a probe of {@code /v1/model} is a probe of readiness. A
 * SIGTERM stops new requests, finishes those under way, and closes the pipeline. There are no users
 * and no encryption here: the server listens to its own host alone, and a proxy in front of it adds
 * both.
 */
@SpringBootApplication
@ConfigurationPropertiesScan
public class NitServer {
  private static final long LOOK_MILLIS = 100;

  /**
   * Runs the sample until Ctrl-C or a SIGTERM.
   *
   * <p>The stop is awaited here and not left to Spring's shutdown hook: the JVM runs its hooks side
   * by side, and ONNX Runtime's frees what a forward under way still uses, which ends the process
   * with a SIGSEGV (microsoft/onnxruntime issue 31352).
   *
   * <p>A stop in good order ends with 0, as it is how a server's work ends, and not with the 143 or
   * 130 of a job that was interrupted. systemd counts 0 as success; units of other Java servers
   * need {@code SuccessExitStatus=143} for that, which does no harm here. Kubernetes and Docker
   * show every other code as an error.
   */
  public static void main(String[] args) throws InterruptedException {
    StopSignal stop = StopSignal.install();
    try (ConfigurableApplicationContext server = start(args)) {
      while (server.isActive() && !stop.requested()) {
        Thread.sleep(LOOK_MILLIS);
      }
    }
  }

  /**
   * Starts the server.
   *
   * @param args settings as {@code --name=value}
   * @return the running application; closing it closes the {@link NitPipeline} too
   */
  public static ConfigurableApplicationContext start(String... args) {
    SpringApplication application = new SpringApplication(NitServer.class);
    application.setBannerMode(Banner.Mode.OFF);
    application.setRegisterShutdownHook(false); // see main
    return application.run(args);
  }
}
