package io.nit.tests.arch;

import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAnyPackage;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.domain.JavaModifier;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.lang.ArchRule;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/**
 * The arrows between packages: the left side of each may use the right side and nothing else.
 * Serving never pulls in libtorch, no backend knows another, and the exporter never sees the
 * trainer.
 */
class ModuleArrowsTest {
  private static final String[] JDK = {"java..", "javax..", "org.w3c.dom.."};
  private static final String[] PLAIN = {"com.fasterxml.jackson..", "org.slf4j.."};
  private static final String[] CLI = {
    "picocli..", "me.tongfei.progressbar..", "ch.qos.logback..", "sun.misc", "jdk.net"
  };
  private static final String[] TORCH = {
    "org.bytedeco.pytorch..", "org.bytedeco.openblas..", "org.bytedeco.javacpp.."
  };
  private static final String[] TENSORRT = {
    "org.bytedeco.tensorrt..", "org.bytedeco.cuda..", "org.bytedeco.javacpp.."
  };
  private static final String[] ONNX = {"org.bytedeco.onnx..", "org.bytedeco.javacpp.."};

  private static JavaClasses nit;

  @BeforeAll
  static void importClasses() {
    nit =
        new ClassFileImporter()
            .withImportOption(location -> !location.contains("test-classes"))
            .withImportOption(location -> !location.contains("-tests.jar"))
            .withImportOption(new ImportOption.DoNotIncludeTests())
            .importPackages("io.nit");
  }

  private record Arrow(String from, List<String> to) {
    static Arrow of(String from, Object... to) {
      List<String> all = new ArrayList<>(List.of(JDK));
      all.addAll(List.of(PLAIN));
      for (Object target : to) {
        if (target instanceof String[] several) {
          all.addAll(List.of(several));
        } else {
          all.add((String) target);
        }
      }
      all.add(from);
      return new Arrow(from, all);
    }
  }

  private static final List<Arrow> ARROWS =
      List.of(
          Arrow.of("io.nit.core.config..", "io.nit.core.io.."),
          Arrow.of("io.nit.core.tensor..", "io.nit.core.config.."),
          Arrow.of("io.nit.core.io.."),
          Arrow.of("io.nit.core.safetensors..", "io.nit.core.tensor..", "io.nit.core.io.."),
          Arrow.of("io.nit.core.packing..", "io.nit.core.io.."),
          Arrow.of("io.nit.core.rope..", "io.nit.core.config..", "io.nit.core.packing.."),
          Arrow.of("io.nit.core.flow.."),
          Arrow.of("io.nit.core.codec..", "io.nit.core.config..", "io.nit.core.image.."),
          Arrow.of("io.nit.core.image..", "io.nit.core.io.."),
          Arrow.of("io.nit.core.ops.."),
          Arrow.of("io.nit.core.cuda..", "io.nit.core.io.."),
          Arrow.of(
              "io.nit.core.oracle..",
              "io.nit.core.config..",
              "io.nit.core.packing..",
              "io.nit.core.safetensors..",
              "io.nit.core.tensor.."),
          Arrow.of(
              "io.nit.core.trt..",
              "io.nit.core.bundle..",
              "io.nit.core.cuda..",
              "io.nit.core.io..",
              TENSORRT),
          Arrow.of(
              "io.nit.core.bundle..",
              "io.nit.core.config..",
              "io.nit.core.codec..",
              "io.nit.core.flow..",
              "io.nit.core.io..",
              "io.nit.core.safetensors..",
              "io.nit.core.tensor.."),
          Arrow.of("io.nit.core.cli..", CLI, "io.nit.core.io.."),
          Arrow.of("io.nit.runtime.engine..", "io.nit.core.."),
          Arrow.of(
              "io.nit.runtime.ort..", "io.nit.core..", "io.nit.runtime.engine", "ai.onnxruntime.."),
          Arrow.of("io.nit.runtime.trt..", "io.nit.core..", "io.nit.runtime.engine", TENSORRT),
          Arrow.of("io.nit.runtime.sample..", "io.nit.core..", "io.nit.runtime.engine"),
          Arrow.of("io.nit.runtime", "io.nit.core..", "io.nit.runtime.."),
          Arrow.of("io.nit.runtime.cli..", "io.nit.core..", "io.nit.runtime..", CLI),
          Arrow.of(
              "io.nit.trainer..",
              "io.nit.core..",
              CLI,
              TORCH,
              "org.bytedeco.cuda..",
              "org.knowm.xchart..",
              "com.twelvemonkeys..",
              "com.google.protobuf"),
          Arrow.of(
              "io.nit.exporter..",
              "io.nit.core..",
              "io.nit.runtime.engine..",
              CLI,
              ONNX,
              TENSORRT,
              "com.google.protobuf"),
          Arrow.of("io.nit.calib..", "io.nit.core..", "io.nit.runtime.engine..", CLI));

  @TestFactory
  Stream<DynamicTest> everyPackageUsesOnlyWhatItsArrowAllows() {
    return ARROWS.stream()
        .map(
            arrow ->
                DynamicTest.dynamicTest(
                    arrow.from,
                    () ->
                        classes()
                            .that(resideInAPackage(arrow.from))
                            .should()
                            .onlyDependOnClassesThat(
                                resideInAnyPackage(arrow.to.toArray(String[]::new)))
                            .allowEmptyShould(true)
                            .check(nit)));
  }

  @Test
  void everyPackageOfTheProjectHasAnArrow() {
    Set<String> uncovered = new TreeSet<>();
    nit.forEach(
        c -> {
          boolean covered = ARROWS.stream().anyMatch(arrow -> resideInAPackage(arrow.from).test(c));
          if (!covered && !c.getPackageName().startsWith("io.nit.samples")) {
            uncovered.add(c.getPackageName());
          }
        });
    assertTrue(uncovered.isEmpty(), "packages without an arrow: " + uncovered);
  }

  @Test
  void anArrowThatIsBrokenIsFound() {
    ArchRule wrong =
        classes()
            .that(resideInAPackage("io.nit.core.rope.."))
            .should()
            .onlyDependOnClassesThat(resideInAnyPackage(JDK));
    assertTrue(wrong.evaluate(nit).hasViolation(), "rope uses config, and the rule did not see it");
  }

  @Test
  void servingNeverUsesLibtorch() {
    noClasses()
        .that(resideInAnyPackage("io.nit.core..", "io.nit.runtime.."))
        .should()
        .dependOnClassesThat(resideInAPackage("org.bytedeco.pytorch.."))
        .check(nit);
  }

  @Test
  void packagesHaveNoCycles() {
    slices().matching("io.nit.(*).(**)").should().beFreeOfCycles().check(nit);
  }

  @Test
  void everyPackageIsDescribed() {
    // A package-info without annotations leaves no class file, so the sources are asked.
    Set<String> missing = new TreeSet<>();
    nit.forEach(c -> missing.add(c.getPackageName()));
    missing.removeIf(ModuleArrowsTest::hasPackageInfo);
    assertTrue(missing.isEmpty(), "packages without package-info.java: " + missing);
  }

  private static boolean hasPackageInfo(String packageName) {
    Path root = Path.of("..").toAbsolutePath().normalize();
    return Stream.of("runtime", "trainer", "exporter", "calib", "samples")
        .map(
            module ->
                root.resolve(module)
                    .resolve("src/main/java")
                    .resolve(packageName.replace('.', '/'))
                    .resolve("package-info.java"))
        .anyMatch(Files::exists);
  }

  @Test
  void ownersOfNativeMemoryAreFinalAndCloseable() {
    classes()
        .that()
        .resideInAnyPackage(
            "io.nit.runtime.ort..",
            "io.nit.runtime.trt..",
            "io.nit.core.trt..",
            "io.nit.trainer.model..")
        .and()
        .implement(AutoCloseable.class)
        .and()
        .areNotInterfaces()
        .should()
        .haveModifier(JavaModifier.FINAL)
        .allowEmptyShould(true)
        .check(nit);
  }
}
