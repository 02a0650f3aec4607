// Validates an OpenAPI document with a third-party validator. Argument: {document}, its path.
import { readFileSync } from "node:fs";
import { Validator } from "@seriousme/openapi-schema-validator";

const document = JSON.parse(readFileSync(JSON.parse(process.argv[2]).document, "utf8"));
const validator = new Validator();
const { valid, errors = [] } = await validator.validate(document);
const found = [errors].flat();
if (valid) {
  try {
    validator.resolveRefs();
  } catch (error) {
    found.push(error.message);
  }
}
process.stdout.write(JSON.stringify({ valid: found.length === 0, version: validator.version, errors: found }) + "\n");
