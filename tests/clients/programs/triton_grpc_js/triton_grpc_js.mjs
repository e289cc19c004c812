// Asks over gRPC for JavaScript, with the contract that Triton's own client has, and prints what it got. Called with:
// URL KEY EXPECTED_FILE GRPC_ADDRESS CONTRACT_FILE; the contract is a FileDescriptorSet.
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const [, key, file, address, contract] = process.argv.slice(2);
const { texts, query } = JSON.parse(readFileSync(file, "utf8"));
const definition = loader.loadFileDescriptorSetFromBuffer(readFileSync(contract), { keepCase: true, arrays: true, longs: Number });
const { GRPCInferenceService } = grpc.loadPackageDefinition(definition).inference;
const client = new GRPCInferenceService(address, grpc.credentials.createInsecure());

function bearing(token) {
  const metadata = new grpc.Metadata();
  if (token) metadata.set("authorization", `Bearer ${token}`);
  return metadata;
}

function call(method, message, metadata = bearing(key)) {
  return promisify(client[method].bind(client))(message, metadata, { deadline: Date.now() + 20_000 });
}

function tensor(name, values) {
  return { name, datatype: "BYTES", shape: [values.length], contents: { bytes_contents: values.map((each) => Buffer.from(each)) } };
}

// A text among raw bytes is its length, as four bytes, and its UTF-8.
function raw(values) {
  return Buffer.concat(
    values.flatMap((each) => {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(Buffer.byteLength(each));
      return [length, Buffer.from(each)];
    }),
  );
}

function typed(answer, name) {
  const output = answer.outputs.find((each) => each.name === name);
  const { fp32_contents, bytes_contents } = output.contents;
  return { shape: output.shape, data: fp32_contents.length ? fp32_contents : bytes_contents.map(String) };
}

function floats(bytes) {
  return Array.from({ length: bytes.length / 4 }, (_, index) => bytes.readFloatLE(4 * index));
}

// Answers have their tensors as the request had them: typed, or as raw bytes.
async function infer(model_name, ...inputs) {
  return call("ModelInfer", { model_name, id: "mine", inputs });
}

async function stream(requests) {
  const calls = client.ModelStreamInfer(bearing(key), { deadline: Date.now() + 20_000 });
  requests.forEach((each) => calls.write(each));
  calls.end();
  const answers = [];
  for await (const { error_message, infer_response } of calls) {
    answers.push(error_message ? { error: error_message } : typed(infer_response, "embedding").data);
  }
  return answers;
}

async function refused(asking) {
  try {
    await asking;
  } catch (error) {
    return { code: grpc.status[error.code], details: error.details };
  }
  throw new Error("it was not refused");
}

const embedded = await infer("tiny", tensor("text", texts));
const judged = await infer("judge", tensor("text", texts));
const ranked = await infer("ranker", tensor("query", [query]), tensor("text", texts));
const bare = { name: "text", datatype: "BYTES", shape: [texts.length] };
const [bytes] = (await call("ModelInfer", { model_name: "tiny", inputs: [bare], raw_input_contents: [raw(texts)] })).raw_output_contents;
const asked = { model_name: "tiny", inputs: [tensor("text", texts.slice(0, 1))] };

console.log(
  JSON.stringify({
    id: embedded.id,
    version: embedded.model_version,
    versions: (await call("ModelMetadata", { name: "tiny" })).versions,
    ready: (await call("ModelReady", { name: "tiny" })).ready,
    embedding: typed(embedded, "embedding"),
    raw: floats(bytes),
    labels: typed(judged, "labels"),
    scores: typed(judged, "scores"),
    ranking: typed(ranked, "scores"),
    streamed: await stream([asked, { ...asked, model_name: "nothing" }, asked]),
    errors: {
      model: await refused(infer("nothing", tensor("text", texts))),
      input: await refused(infer("ranker", tensor("text", texts))),
      "no key": await refused(call("ModelInfer", asked, bearing(""))),
    },
  }),
);
client.close();
