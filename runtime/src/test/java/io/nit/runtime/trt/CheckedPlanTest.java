package io.nit.runtime.trt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.nit.core.bundle.EngineManifest;
import io.nit.core.bundle.EngineManifest.Host;
import io.nit.core.bundle.EngineManifest.Profile;
import io.nit.core.bundle.EngineManifest.Traits;
import io.nit.core.bundle.EngineSubject;
import io.nit.core.config.NitConfig;
import io.nit.core.io.Sha256;
import io.nit.core.trt.PlanNotTakenException;
import io.nit.core.trt.TensorRtException;
import io.nit.runtime.engine.EngineException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CheckedPlanTest {
  private static final String AGAIN = ". Build it again with: nit-export engine b";

  @TempDir Path folder;

  private CheckedPlan plan;

  @BeforeEach
  void aPlanThatIsItsManifests() throws IOException {
    Host host = new Host("10.6.0", "12.6", "a GPU", "9.0", Optional.empty());
    MadeUpPlans.engine(folder, host, Traits.NONE, "nit-export engine b");
    Path file = folder.resolve("engine.plan");
    EngineManifest manifest = EngineManifest.read(file);
    plan =
        new CheckedPlan(
            file, manifest.withPlan(file, Sha256.of(file), EngineManifest.Weights.FIXED), 0);
  }

  private String failure(Exception cause) {
    return assertThrows(
            EngineException.class,
            () ->
                plan.opened(
                    () -> {
                      throw new EngineException("not taken: magic tag", cause);
                    }))
        .getMessage();
  }

  @Test
  void aPlanThatTensorRtDoesNotTakeIsToldToBeWholeOrAnother() throws IOException {
    PlanNotTakenException cause = new PlanNotTakenException("magic tag");
    assertEquals(
        "not taken: magic tag. plan.sha256: as expected, the file is whole" + AGAIN,
        failure(cause));
    String expected = Sha256.of(plan.file());
    byte[] other = Files.readAllBytes(plan.file());
    other[0] = 1;
    Files.write(plan.file(), other);
    assertEquals(
        "not taken: magic tag. plan.sha256: expected "
            + expected
            + ", found "
            + Sha256.of(plan.file())
            + AGAIN,
        failure(cause));
  }

  @Test
  void otherFailuresAreToldAsTheyAre() throws Exception {
    assertEquals("not taken: magic tag", failure(new TensorRtException("no memory")));
    IOException unreadable = new IOException("unreadable");
    assertSame(
        unreadable,
        assertThrows(
            IOException.class,
            () ->
                plan.opened(
                    () -> {
                      throw unreadable;
                    })));
    assertEquals("engine", plan.opened(() -> "engine"));
  }

  @Test
  void anOpenedPlanOfOtherProfilesOrPrecisionIsRefused() throws EngineException {
    plan.require(
        Optional.of("BF16"), new EngineSubject.Model(NitConfig.s(), List.of(new Profile(64, 64))));
    assertEquals(
        "engine.plan does not fit: precision: expected BF16, found F32; profiles: expected 64"
            + " tokens in 64 images, found 64 tokens in 32 images"
            + AGAIN,
        assertThrows(
                EngineException.class,
                () ->
                    plan.require(
                        Optional.of("F32"),
                        new EngineSubject.Model(NitConfig.s(), List.of(new Profile(64, 32)))))
            .getMessage());
  }
}
