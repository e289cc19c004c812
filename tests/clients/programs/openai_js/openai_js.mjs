// Asks with OpenAI's own client for JavaScript, and prints what it got. Called with: URL KEY EXPECTED_FILE GRPC_ADDRESS.
import { readFileSync } from "node:fs";
import OpenAI from "openai";

const [url, key, file] = process.argv.slice(2);
const { texts, long } = JSON.parse(readFileSync(file, "utf8"));

function connect(options) {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0, ...options });
}

const client = connect({});

async function embed(options, asking = client) {
  const answer = await asking.embeddings.create({ model: "tiny", input: texts, ...options });
  return answer.data.map((each) => each.embedding);
}

async function moderate() {
  const answer = await client.moderations.create({ model: "judge", input: texts });
  return answer.results.map(({ flagged, category_scores }) => ({ flagged, scores: category_scores }));
}

async function list() {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  return names;
}

async function refused(asking) {
  try {
    await asking;
  } catch (error) {
    const { status, type, code, param } = error;
    return { status, type, code, param, class: error.constructor.name };
  }
  throw new Error("it was not refused");
}

console.log(
  JSON.stringify({
    default: await embed({}), // it asks for base64 and decodes it by itself
    float: await embed({ encoding_format: "float" }),
    base64: await embed({ encoding_format: "base64" }),
    moderations: await moderate(),
    models: await list(),
    model: (await client.models.retrieve("tiny")).id,
    errors: {
      model: await refused(embed({ model: "nothing" })),
      window: await refused(embed({ input: [texts[0], long] })),
      "wrong key": await refused(embed({}, connect({ apiKey: "another-key-than-that-one" }))),
      "no key": await refused(embed({}, connect({ defaultHeaders: { Authorization: null } }))),
    },
  }),
);
