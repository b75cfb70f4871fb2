/**
 * The shape of a network: {@link io.nit.core.config.NitConfig} with the published presets and a
 * JSON form under the authors' key names.
 */
package io.nit.core.config;
