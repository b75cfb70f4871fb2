package io.nit.core.bundle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.config.DcAeConfig;
import io.nit.core.io.Sha256;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DcAeTensors;
import io.nit.testing.GeneratedDcAe;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DcAeFolderTest {
  @TempDir Path folder;

  @Test
  void aFolderInDiffusersLayoutIsRead() throws IOException {
    Path made = GeneratedDcAe.write(folder.resolve("ae"), GeneratedDcAe.small());
    DcAeFolder opened = DcAeFolder.open(made);
    assertEquals(GeneratedDcAe.small(), opened.config());
    assertEquals(Optional.of(Sha256.of(opened.weights())), opened.spec().weightsSha256());
    try (TensorSource weights = opened.openWeights()) {
      assertEquals(DcAeTensors.of(opened.config()).keySet(), weights.specs().keySet());
    }
  }

  @Test
  void aPipelinesAutoencoderIsFound() throws IOException {
    Path made = GeneratedDcAe.write(folder.resolve("pipeline/vae"), GeneratedDcAe.small());
    assertEquals(made, DcAeFolder.open(folder.resolve("pipeline")).folder());
  }

  @Test
  void aMissingFileIsNamed() throws IOException {
    String message =
        assertThrows(NoSuchFileException.class, () -> DcAeFolder.open(folder)).getMessage();
    assertTrue(message.contains("config.json"), message);
    Files.writeString(folder.resolve("config.json"), GeneratedDcAe.small().toNode().toString());
    message = assertThrows(NoSuchFileException.class, () -> DcAeFolder.open(folder)).getMessage();
    assertTrue(message.contains("diffusion_pytorch_model.safetensors"), message);
  }

  @Test
  void weightsOfAnotherMemberAreRefusedKeyByKey() throws IOException {
    Path made = GeneratedDcAe.write(folder.resolve("ae"), GeneratedDcAe.small());
    DcAeConfig other =
        DcAeConfig.fromNode(GeneratedDcAe.small().toNode().put("latent_channels", 16), "x");
    Files.writeString(made.resolve("config.json"), other.toNode().toString());
    String message =
        assertThrows(IllegalArgumentException.class, () -> DcAeFolder.open(made).openWeights())
            .getMessage();
    assertTrue(
        message.contains("encoder.conv_out.weight: expected [16, 32, 3, 3], found [8, 32, 3, 3]"),
        message);
  }

  @Test
  void truncatedWeightsAreRefused() throws IOException {
    Path made = GeneratedDcAe.write(folder.resolve("ae"), GeneratedDcAe.small());
    Path weights = DcAeFolder.open(made).weights();
    byte[] bytes = Files.readAllBytes(weights);
    Files.write(weights, Arrays.copyOf(bytes, bytes.length - 100));
    assertThrows(IOException.class, () -> DcAeFolder.open(made).openWeights());
  }
}
