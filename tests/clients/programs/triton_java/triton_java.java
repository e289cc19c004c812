// Asks with Triton's own client for Java, and prints what it got. Called with: URL KEY EXPECTED_FILE GRPC_ADDRESS.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import triton.client.InferInput;
import triton.client.InferRequestedOutput;
import triton.client.InferResult;
import triton.client.InferenceException;
import triton.client.InferenceServerClient;
import triton.client.InferenceServerClient.InferArguments;
import triton.client.pojo.DataType;

final class TritonJava {
  private static final int LIMIT_MS = 20_000;
  private static final ObjectMapper JSON = new ObjectMapper();

  private final InferenceServerClient client;
  private final String key;
  private final String[] texts;
  private final String[] query;

  private TritonJava(InferenceServerClient client, String key, JsonNode asked) {
    this.client = client;
    this.key = key;
    this.texts = JSON.convertValue(asked.get("texts"), String[].class);
    this.query = new String[] {asked.get("query").asText()};
  }

  public static void main(String[] arguments) throws Exception {
    String address = arguments[0].substring("http://".length());
    try (InferenceServerClient client = new InferenceServerClient(address, LIMIT_MS, LIMIT_MS)) {
      System.out.println(JSON.writeValueAsString(new TritonJava(client, arguments[1], JSON.readTree(new File(arguments[2]))).ask()));
    }
  }

  private Map<String, Object> ask() throws InferenceException {
    InferResult embedded = infer("tiny", false, List.of(tensor("text", texts, false)), List.of("embedding"));
    String version = embedded.getResponse().getModelVersion();
    InferResult judged = infer("judge", false, List.of(tensor("text", texts, true)), List.of("labels", "scores"));
    List<InferInput> question = List.of(tensor("query", query, true), tensor("text", texts, true));
    Map<String, Object> got = new LinkedHashMap<>();
    got.put("shape", embedded.getResponse().getOutputByName("embedding").getShape());
    got.put("json", embedded.getOutputAsFloat("embedding"));
    got.put("binary", infer("tiny", true, List.of(tensor("text", texts, true)), List.of("embedding")).getOutputAsFloat("embedding"));
    got.put("all outputs", client.infer(bearing(key, "tiny", tensor("text", texts, true))).getOutputAsFloat("embedding"));
    got.put("version", version);
    InferArguments versioned = bearing(key, "tiny", tensor("text", texts, true)).setModelVersion(version).setRequestId("mine");
    got.put("id", client.infer(versioned).getResponse().getId());
    got.put("labels", judged.getResponse().getOutputByName("labels").getData());
    got.put("scores", judged.getOutputAsFloat("scores"));
    got.put("ranking", infer("ranker", true, question, List.of("scores")).getOutputAsFloat("scores"));
    got.put("errors", Map.of(
        "model", refused(bearing(key, "nothing", tensor("text", texts, true))),
        "input", refused(bearing(key, "ranker", tensor("text", texts, true))),
        "no key", refused(new InferArguments("tiny", tensor("text", texts, true)))));
    return got;
  }

  private InferResult infer(String model, boolean isBinary, List<InferInput> inputs, List<String> outputs)
      throws InferenceException {
    List<InferRequestedOutput> wanted = outputs.stream().map(name -> new InferRequestedOutput(name, isBinary)).toList();
    return client.infer(new InferArguments(model, inputs, wanted).setHeader("authorization", "Bearer " + key));
  }

  private static InferArguments bearing(String key, String model, InferInput input) {
    return new InferArguments(model, input).setHeader("authorization", "Bearer " + key);
  }

  private static InferInput tensor(String name, String[] values, boolean isBinary) {
    InferInput made = new InferInput(name, new long[] {values.length}, DataType.BYTES);
    made.setData(values, isBinary);
    return made;
  }

  private String refused(InferArguments arguments) {
    try {
      client.infer(arguments);
    } catch (InferenceException error) {
      return error.getMessage();
    }
    throw new IllegalStateException("it was not refused");
  }
}
