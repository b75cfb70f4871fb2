package io.nit.core.cli;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;
import ch.qos.logback.classic.LoggerContext;
import ch.qos.logback.classic.encoder.PatternLayoutEncoder;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.ConsoleAppender;
import io.nit.core.io.AtomicFile;
import java.io.IOException;
import java.lang.reflect.Field;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.slf4j.LoggerFactory;
import picocli.CommandLine;

/**
 * Runs a picocli command the way all of ours run: results on stdout, logs and progress on stderr,
 * failures as one message and not a stack trace (unless {@code --debug}), and the exit codes below,
 * or {@link StopSignal#exitCode} of a job that was stopped.
 */
public final class Cli {
  /** Done. */
  public static final int DONE = 0;

  /**
   * Failed: a file or folder that is not there or cannot be read or written, a backend that does
   * not run.
   */
  public static final int FAILED = 1;

  /**
   * Bad usage: an unknown option, or a value that does not fit ({@link IllegalArgumentException}).
   */
  public static final int BAD_USAGE = 2;

  private static final Pattern NO_NUMBER =
      Pattern.compile(
          "Invalid value for option '([^']+)'.*?: '(.*)' is not an? (int|long|double)",
          Pattern.DOTALL);

  private Cli() {}

  /**
   * Runs and exits the process. Until the command takes the signals over ({@link StopSignal}), one
   * ends it at once, past the exit handlers of native libraries that are at work.
   */
  public static void main(Object command, String[] args) {
    StopSignal.endAtOnce(
        () -> {
          AtomicFile.abandonAll();
          System.err.println("stopped");
        });
    int code = run(command, args);
    System.out.flush();
    StopSignal.awaitEndUnderWay();
    // Native libraries may hold threads that are no daemons; a finished command ends.
    System.exit(code);
  }

  /** Runs and returns the exit code. */
  public static int run(Object command, String... args) {
    CommandLine line = new CommandLine(command);
    line.setCaseInsensitiveEnumValuesAllowed(true);
    line.setUsageHelpAutoWidth(true);
    setVersion(line, line.getCommandName() + " " + version(command.getClass()));
    line.setExecutionStrategy(
        parsed -> {
          takeOptionsBeforeTheCommand(parsed);
          configureLogging(common(parsed));
          return new CommandLine.RunLast().execute(parsed);
        });
    line.setParameterExceptionHandler(
        (e, given) -> {
          CommandLine failed = e.getCommandLine();
          // picocli begins some of its messages with the word already
          failed
              .getErr()
              .println("error: " + describe(e.getMessage().replaceFirst("^Error: ", "")));
          CommandLine.UnmatchedArgumentException.printSuggestions(e, failed.getErr());
          failed.getErr().println("Try '" + failed.getCommandSpec().qualifiedName() + " --help'.");
          return BAD_USAGE;
        });
    line.setExecutionExceptionHandler(
        (e, failed, parsed) -> {
          CommonOptions common = common(parsed);
          if (common != null && common.debug) {
            e.printStackTrace(failed.getErr());
          }
          failed.getErr().println("error: " + describe(e));
          if (e instanceof CancellationException) {
            return StopSignal.ofProcess().exitCode();
          }
          return e instanceof IllegalArgumentException ? BAD_USAGE : FAILED;
        });
    return line.execute(args);
  }

  /** What {@code --version} of the command and of each command below it says. */
  private static void setVersion(CommandLine line, String version) {
    line.getCommandSpec().version(version);
    line.getSubcommands().values().forEach(below -> setVersion(below, version));
  }

  private static String version(Class<?> command) {
    return packagedVersion(command).orElse("(not packaged)");
  }

  /**
   * A command as files name what made them: its name, and its version where it runs from a jar.
   *
   * @param command a class of the jar
   */
  public static String tool(String name, Class<?> command) {
    return packagedVersion(command).map(version -> name + " " + version).orElse(name);
  }

  private static Optional<String> packagedVersion(Class<?> command) {
    return Optional.ofNullable(command.getPackage().getImplementationVersion());
  }

  /** picocli's words for a value that is no number name Java's types. */
  private static String describe(String usage) {
    Matcher wrong = NO_NUMBER.matcher(usage);
    if (!wrong.matches()) {
      return usage;
    }
    String expected = wrong.group(3).equals("double") ? "a number" : "a whole number";
    if (wrong.group(2).matches("[+-]?[0-9]+")) { // too large
      boolean small = wrong.group(3).equals("int");
      long most = small ? Integer.MAX_VALUE : Long.MAX_VALUE;
      expected += " of " + (-most - 1) + ".." + most;
    }
    return wrong.group(1) + ": expected " + expected + ", found '" + wrong.group(2) + "'";
  }

  /** A failure as a user reads it. */
  static String describe(Throwable e) {
    if (e instanceof NoSuchFileException missing) {
      Path parent = Path.of(missing.getFile()).getParent();
      if (parent != null && Files.isRegularFile(parent)) {
        return "expected a folder, found a file: " + parent;
      }
      return "no such file or folder: "
          + missing.getFile()
          + (missing.getReason() == null ? "" : "; " + missing.getReason());
    }
    if (e instanceof AccessDeniedException denied) {
      return "no permission: " + denied.getFile();
    }
    if (e instanceof NotDirectoryException file) {
      return "expected a folder, found a file: " + file.getFile();
    }
    if (e instanceof FileAlreadyExistsException existing) {
      return existing.getFile() + ": there is a file of that name";
    }
    if (e instanceof FileSystemException file && file.getReason() != null) {
      return file.getFile() + ": " + file.getReason();
    }
    if (e.getMessage() != null
        && (e instanceof IllegalArgumentException
            || e instanceof IOException
            || e instanceof CancellationException
            || e.getClass().getName().startsWith("io.nit."))) {
      return e.getMessage();
    }
    return e.toString();
  }

  /**
   * Options before the name of a subcommand are read by the command above it: those that every
   * command has are passed on, others would do nothing and are refused.
   */
  private static void takeOptionsBeforeTheCommand(CommandLine.ParseResult parsed) {
    CommonOptions last = common(parsed);
    for (CommandLine.ParseResult at = parsed; at.hasSubcommand(); at = at.subcommand()) {
      CommandLine below = at.subcommand().commandSpec().commandLine();
      for (CommandLine.Model.OptionSpec option : at.matchedOptions()) {
        if (option.usageHelp() || option.versionHelp()) {
          continue;
        }
        boolean common =
            option.userObject() instanceof Field field
                && field.getDeclaringClass() == CommonOptions.class;
        if (!common || last == null) {
          throw new CommandLine.ParameterException(
              below,
              option.longestName()
                  + ": expected after the command '"
                  + below.getCommandName()
                  + "', found before it");
        }
      }
      CommonOptions above = common(at.commandSpec());
      if (above != null && last != null) {
        last.addAll(above);
      }
    }
  }

  private static CommonOptions common(CommandLine.Model.CommandSpec spec) {
    CommonOptions found = null;
    for (CommandLine.Model.CommandSpec mixin : spec.mixins().values()) {
      if (mixin.userObject() instanceof CommonOptions common) {
        found = common;
      }
    }
    return found;
  }

  private static CommonOptions common(CommandLine.ParseResult parsed) {
    CommonOptions found = null;
    for (CommandLine line : parsed.asCommandLineList()) {
      CommonOptions own = common(line.getCommandSpec());
      found = own == null ? found : own;
    }
    return found;
  }

  /** Logs to stderr, one line an event. */
  private static void configureLogging(CommonOptions options) {
    if (!(LoggerFactory.getILoggerFactory() instanceof LoggerContext context)) {
      return;
    }
    context.reset();
    PatternLayoutEncoder layout = new PatternLayoutEncoder();
    layout.setContext(context);
    layout.setPattern("%d{HH:mm:ss} %-5level %msg%n%ex{0}");
    layout.start();
    ConsoleAppender<ILoggingEvent> stderr = new ConsoleAppender<>();
    stderr.setContext(context);
    stderr.setTarget("System.err");
    stderr.setEncoder(layout);
    stderr.start();
    Logger root = context.getLogger(org.slf4j.Logger.ROOT_LOGGER_NAME);
    root.setLevel(Level.WARN);
    root.addAppender(stderr);
    context.getLogger("io.nit").setLevel(level(options));
  }

  private static Level level(CommonOptions options) {
    if (options == null) {
      return Level.INFO;
    }
    if (options.debug) {
      return Level.TRACE;
    }
    return options.verbose ? Level.DEBUG : options.quiet ? Level.WARN : Level.INFO;
  }
}
