// Parses the Jenkinsfile on standard input with Groovy itself and writes its calls as JSON.
import org.codehaus.groovy.ast.builder.AstBuilder
import org.codehaus.groovy.ast.expr.*
import org.codehaus.groovy.ast.stmt.*
import org.codehaus.groovy.control.CompilePhase

Object value(expression) {
    switch (expression) {
        case ConstantExpression: return expression.value
        case GStringExpression: return expression.text
        case MapExpression:
            return expression.mapEntryExpressions.collectEntries { [value(it.keyExpression), value(it.valueExpression)] }
        case MethodCallExpression: return invocation(expression)
        case VariableExpression: return [name: expression.name, arguments: []]
        default: throw new IllegalArgumentException("line ${expression.lineNumber}: ${expression.class.simpleName}")
    }
}

Map invocation(expression) {
    if (expression instanceof BinaryExpression && expression.operation.text == '=') {
        return [name: expression.leftExpression.name, arguments: [value(expression.rightExpression)]]
    }
    def arguments = expression.arguments.expressions
    def blocks = arguments.findAll { it instanceof ClosureExpression }
    def found = [name: expression.methodAsString, arguments: (arguments - blocks).collect { value(it) }]
    return blocks ? found + [block: statements(blocks[0].code)] : found
}

List statements(BlockStatement block) {
    block.statements.collect { invocation(it.expression) }
}

def tree = new AstBuilder().buildFromString(CompilePhase.CONVERSION, false, System.in.getText('UTF-8'))
println groovy.json.JsonOutput.toJson([groovy: GroovySystem.version, calls: statements(tree[0])])
