/** The formats that stages hand over: the model bundle ({@link io.nit.core.bundle.Bundle}). */
package io.nit.core.bundle;
