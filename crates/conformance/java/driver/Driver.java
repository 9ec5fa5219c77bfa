// The Java side of the conformance tests: one virtual machine that executes one command a line.
//
// A command is a JSON object with "do"; the answer is one line, {"ok": ...} or {"error": class, "message": text}.
// What is expected stands in the Rust tests; nothing is judged here, except where a million records would
// have to cross the pipe.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;

public final class Driver {
    static final ObjectMapper JSON = new ObjectMapper();

    /** One command. */
    interface Command {
        JsonNode run(JsonNode arguments) throws Exception;
    }

    private final Map<String, Command> commands = new HashMap<>();

    private Driver(String bootstrap) {
        new Records(bootstrap).register(commands);
        new Members(bootstrap).register(commands);
        new Load(bootstrap).register(commands);
        new AdminCalls(bootstrap).register(commands);
        commands.put("tool", Driver::tool);
    }

    public static void main(String[] arguments) throws Exception {
        // Answers alone go to stdout; whatever a library prints goes to stderr.
        PrintStream answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        System.setOut(System.err);
        Driver driver = new Driver(arguments[0]);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            answers.println(JSON.writeValueAsString(driver.answer(JSON.readTree(line))));
        }
        System.exit(0);
    }

    private ObjectNode answer(JsonNode line) {
        ObjectNode answer = JSON.createObjectNode();
        String name = line.path("do").asText();
        Command command = commands.get(name);
        if (command == null) {
            return answer.put("error", "Driver").put("message", "no command is called " + name);
        }
        try {
            return answer.set("ok", command.run(line));
        } catch (Throwable thrown) {
            Throwable cause = unwrap(thrown);
            return answer.put("error", cause.getClass().getSimpleName()).put("message", String.valueOf(cause.getMessage()));
        }
    }

    /** One of Kafka's tools in this virtual machine: "class" and "arguments"; its exit code and what it printed. */
    private static JsonNode tool(JsonNode arguments) throws Exception {
        List<String> words = new ArrayList<>();
        arguments.path("arguments").forEach(w -> words.add(w.asText()));
        Method main = Class.forName(arguments.path("class").asText()).getDeclaredMethod("mainNoExit", String[].class);
        main.setAccessible(true);
        PrintStream before = System.out;
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        System.setOut(new PrintStream(printed, true, StandardCharsets.UTF_8));
        try {
            Object code = main.invoke(null, (Object) words.toArray(String[]::new));
            return JSON.createObjectNode().put("code", (int) code).put("out", printed.toString(StandardCharsets.UTF_8));
        } finally {
            System.setOut(before);
        }
    }

    static Throwable unwrap(Throwable thrown) {
        Throwable cause = thrown;
        while ((cause instanceof ExecutionException || cause instanceof CompletionException) && cause.getCause() != null) {
            cause = cause.getCause();
        }
        return cause;
    }

    /** Client properties: the bootstrap address and what "config" adds. */
    static Map<String, Object> config(String bootstrap, JsonNode arguments) {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", bootstrap);
        arguments.path("config").properties().forEach(e -> config.put(e.getKey(), e.getValue().asText()));
        return config;
    }
}
