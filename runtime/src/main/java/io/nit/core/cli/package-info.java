/** What the command lines share: exit codes, error printing, log set-up, progress bars. */
package io.nit.core.cli;
