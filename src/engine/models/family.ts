import type { Architecture } from './architecture.ts'

/** A configuration under the names of Hugging Face's `config.json`, whichever file it was read from. */
export interface ModelConfig {
  readonly model_type: string
  readonly [field: string]: unknown
}

/** One `model_type`. */
export interface ModelFamily {
  /** Its class in `transformers`, as `architectures` of config.json names it. */
  readonly className: string
  /**
   * @param config the content of config.json
   * @throws ShadowError `invalid_config` naming the field that is wrong or not supported
   */
  architecture(config: unknown): Architecture
}
