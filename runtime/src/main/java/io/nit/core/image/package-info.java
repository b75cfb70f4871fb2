/** Pictures as bytes, PNG files with text chunks, and contact sheets. */
package io.nit.core.image;
