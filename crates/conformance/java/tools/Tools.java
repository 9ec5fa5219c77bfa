import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs several of Kafka's tools in one virtual machine: command lines in, what they printed and their exit
 * codes out, one JSON object a line. An exit ends the command, not the machine.
 */
public final class Tools {
    /** Unwinds a tool that has asked for its end. */
    private static final class Ended extends Error {
        private static final long serialVersionUID = 1L;
    }

    private static final ByteArrayOutputStream OUT = new ByteArrayOutputStream();
    private static final ByteArrayOutputStream ERR = new ByteArrayOutputStream();
    private static final List<Runnable> HOOKS = new ArrayList<>();
    private static ObjectNode answer;

    @SuppressWarnings("removal")
    public static void main(String[] unused) throws Exception {
        ObjectMapper json = new ObjectMapper();
        PrintStream answers = System.out;
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        Exit.setExitProcedure((code, message) -> end(code));
        Exit.setHaltProcedure((code, message) -> end(code));
        Exit.setShutdownHookAdder((name, hook) -> HOOKS.add(hook));
        java.security.Policy.setPolicy(new Everything());
        System.setSecurityManager(new NoExit());
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            JsonNode command = json.readTree(line);
            answer = json.createObjectNode();
            run(command);
            answers.println(json.writeValueAsString(answer));
            answers.flush();
        }
        System.setSecurityManager(null);
        Runtime.getRuntime().halt(0);
    }

    /** argparse4j ends the machine itself. Java has such managers up to 23. */
    @SuppressWarnings("removal")
    private static final class NoExit extends SecurityManager {
        @Override
        public void checkExit(int code) {
            end(code);
        }

        @Override
        public void checkPermission(java.security.Permission permission) {
            // Everything else is allowed.
        }
    }

    @SuppressWarnings("removal")
    private static final class Everything extends java.security.Policy {
        @Override
        public boolean implies(java.security.ProtectionDomain domain, java.security.Permission permission) {
            return true;
        }
    }

    private static void run(JsonNode command) throws Exception {
        OUT.reset();
        ERR.reset();
        HOOKS.clear();
        List<String> arguments = new ArrayList<>();
        command.get("arguments").forEach(word -> arguments.add(word.asText()));
        InputStream input = new ByteArrayInputStream(command.get("stdin").asText().getBytes(StandardCharsets.UTF_8));
        System.setIn(input);
        System.setOut(new PrintStream(OUT, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(ERR, true, StandardCharsets.UTF_8));
        try {
            Class<?> tool = Class.forName(command.get("class").asText());
            tool.getMethod("main", String[].class).invoke(null, (Object) arguments.toArray(new String[0]));
            finish(0);
        } catch (java.lang.reflect.InvocationTargetException thrown) {
            if (!(thrown.getCause() instanceof Ended)) {
                // As the machine itself says it.
                System.err.print("Exception in thread \"main\" ");
                thrown.getCause().printStackTrace();
                finish(1);
            }
        }
    }

    private static void end(int code) {
        finish(code);
        throw new Ended();
    }

    /** The first exit counts: a tool may catch what unwinds it and go on. */
    private static void finish(int code) {
        if (answer.has("code")) {
            return;
        }
        answer.put("code", code);
        HOOKS.forEach(Runnable::run);
        System.out.flush();
        System.err.flush();
        answer.put("stdout", OUT.toString(StandardCharsets.UTF_8));
        answer.put("stderr", ERR.toString(StandardCharsets.UTF_8));
    }
}
